// A worker goes while an engine of its runs. The engine goes with it, and the job is made anew by the next worker.
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { alive } from '../embedded/process.ts';
import { openWorkshop, type Workshop } from '../providers/exec/scripts.ts';
import { eventually } from '../support/eventually.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { type Role, spawnWorker } from '../support/spawn.ts';

let workshop: Workshop;
let millrace: TestPlatform;
let account: TestAccount;
const workers: Role[] = [];
beforeAll(async () => {
  workshop = openWorkshop();
  const env = { ENGINE_PATH: workshop.path, LEASE_MS: '2000' };
  millrace = await startPlatform({ worker: false, env });
  account = await millrace.account();
});
afterAll(async () => {
  await Promise.all(workers.map((worker) => worker.kill()));
  await millrace.stop();
  workshop.remove();
});

const WAIT = { withinMs: 25_000 };
const newWorker = async (env: Record<string, string> = {}): Promise<Role> => {
  const worker = await spawnWorker(millrace, { env });
  workers.push(worker);
  await eventually(
    async () =>
      (await account.get('/v1/models')).body.data.some((model: { id: string }) => model.id === 'local/flite'),
    { what: 'the model is listed', ...WAIT },
  );
  return worker;
};
const rooms = (): number => {
  const folder = join(millrace.dataDir, 'engine-calls');
  return existsSync(folder) ? readdirSync(folder).length : 0;
};

it.each([
  ['is killed outright', async (worker: Role) => worker.kill(), 1],
  ['is drained and may not wait', async (worker: Role) => void (await worker.drain()), 0],
])('where the worker %s', async (_, end, left) => {
  for (const name of ['runs', 'go']) rmSync(join(workshop.path, name), { force: true });
  const before = rooms();
  workshop.script(
    'flite',
    'echo $$ >> $here/runs; [ -e $here/go ] || exec sleep 600; cp $here/tone.wav "$6"',
  );
  const first = await newWorker({ DRAIN_SECONDS: '0' });
  const { id } = await account.submit({ model: 'local/flite', input: { input: 'Hold on.' } });
  const pid = Number(await workshop.left('runs'));
  expect(alive(pid)).toBe(true);
  await end(first);
  await eventually(() => !alive(pid), { what: 'the engine is gone', ...WAIT });
  expect(rooms() - before).toBe(left);
  writeFileSync(join(workshop.path, 'go'), '');
  const second = await newWorker();
  const job = await account.ended(id);
  expect(job).toMatchObject({ status: 'succeeded', attempt: 2, cost: { credits: 16 } });
  expect(job.output.audio.duration_ms).toBe(500);
  expect((await workshop.left('runs')).trim().split('\n')).toHaveLength(2);
  await second.kill();
});

it('leaves books that are right', async () => {
  const { body } = await millrace.admin.get('/v1/admin/invariants');
  expect(body).toMatchObject({ ok: true, breaches: [] });
});
