// Everything in one process, on embedded engines unless the environment names others: `npm start`.
import { join } from 'node:path';
import { startApi } from './api/start.ts';
import type { Address } from './context.ts';
import { KINDS } from './domain/job.ts';
import { openPlatformFor, readCredentials } from './platform.ts';
import { commandLine, runCommand } from './process.ts';
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
  worker = await startWorker(platform, { queues: KINDS, concurrency: CONCURRENCY });
  process.stdout.write(await welcome());
  await life.untilStopped(ctx.log);

  async function welcome(): Promise<string> {
    const path = join(ctx.config.dataDir, 'credentials.json');
    const credentials = await readCredentials(ctx.config);
    const lines = [`Millrace is at ${api.url}, its API reference at ${api.url}/reference.`];
    if (!credentials)
      return `${lines.join('\n')} Keys are where its first start wrote them, not in ${path}.\n`;
    lines.push(
      `Keys are in ${path}. Try:`,
      '',
      `  curl -s '${api.url}/v1/jobs?wait=30' -H 'authorization: Bearer ${credentials.api_key}' \\`,
      `    -H 'content-type: application/json' -d '{"model":"sim/chat","input":{"messages":[{"role":"user","content":"Hello"}]}}'`,
      '',
    );
    return `${lines.join('\n')}\n`;
  }
});
