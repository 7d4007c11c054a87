// Everything in one process, on embedded engines unless the environment names others: `npm start`.
import { join } from 'node:path';
import { startApi } from './api/start.ts';
import type { Address } from './context.ts';
import { QUEUES } from './domain/queues.ts';
import { openPlatformFor, readCredentials } from './platform.ts';
import { commandLine, runCommand } from './process.ts';
import { banner, greeting } from './welcome.ts';
import { type RunningWorker, startWorker } from './workers/start.ts';

const CONCURRENCY = 50;

commandLine(
  'npm start',
  'Runs the whole platform until it is stopped: the API, a worker for every queue, and what they need.',
  ['api', 'worker'],
).parse();

await runCommand(async (life) => {
  const address: Address = { url: null };
  const platform = await openPlatformFor(life, { address });
  const { ctx } = platform;
  // The API first: a port that is taken should end the start before a worker has jobs in its hands.
  let worker: RunningWorker | null = null;
  const api = await startApi(platform, address);
  // The waits are answered and nothing new comes in while what runs is ended.
  life.defer(() => Promise.all([api.close(), worker?.drain()]));
  worker = await startWorker(platform, { queues: QUEUES, concurrency: CONCURRENCY });
  const credentials = await readCredentials(ctx.config);
  const path = join(ctx.config.dataDir, 'credentials.json');
  const welcome = { url: api.url, path, apiKey: credentials?.api_key ?? null };
  if (process.stdout.isTTY) process.stdout.write(banner(welcome));
  else ctx.log.info(greeting(welcome));
  await life.untilStopped(ctx.log);
});
