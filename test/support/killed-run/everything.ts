// A test that has one of everything running, says so in a file, and is never done (undertaker.test.ts).
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'vitest';
import { dataFolder } from '../../embedded/folder.ts';
import { runNode } from '../command.ts';
import { install } from '../platform.ts';
import { spawnApi, spawnWorker } from '../spawn.ts';

it('has everything running', async () => {
  const installation = await install('redis');
  const folder = await dataFolder();
  const member = folder.member();
  const env = { MILLRACE_DATA_DIR: folder.dataDir, PORT: '0' };
  const platform = runNode(['src/main.ts'], { env, leads: true });
  await Promise.all([platform.said(/Millrace is at/), spawnApi(installation)]);
  await member.join();
  // One that is frozen cannot see by itself that it should go.
  const worker = await spawnWorker(installation);
  worker.signal('SIGSTOP');
  await writeFile(join(tmpdir(), 'ready'), '');
  await new Promise(() => {});
});
