// Everything in one process, on embedded engines unless the environment names others: `npm start`.
import { join } from 'node:path';
import { startApi } from './api/start.ts';
import type { Address } from './context.ts';
import { KINDS } from './domain/job.ts';
import { openPlatform, readCredentials } from './platform.ts';
import { runCommand, untilStopped } from './process.ts';
import { startWorker } from './workers/start.ts';

const CONCURRENCY = 50;

await runCommand(async () => {
  const address: Address = { url: null };
  const platform = await openPlatform({ address });
  const { ctx } = platform;
  const worker = await startWorker(platform, { queues: KINDS, concurrency: CONCURRENCY });
  const api = await startApi(platform, address);
  process.stdout.write(await welcome());
  await untilStopped(async () => {
    // The waits are answered and nothing new comes in while what runs is ended.
    await Promise.all([api.close(), worker.drain()]);
    await ctx.close();
    await platform.leave();
  }, ctx.log);
  process.exit();

  async function welcome(): Promise<string> {
    const credentials = await readCredentials(ctx.config);
    const lines = [`Millrace is at ${api.url}, its API reference at ${api.url}/reference.`];
    if (credentials) {
      lines.push(
        `Keys are in ${join(ctx.config.dataDir, 'credentials.json')}. Try:`,
        '',
        `  curl -s '${api.url}/v1/jobs?wait=30' -H 'authorization: Bearer ${credentials.api_key}' \\`,
        `    -H 'content-type: application/json' -d '{"model":"sim/chat","input":{"messages":[{"role":"user","content":"Hello"}]}}'`,
        '',
      );
    }
    return `${lines.join('\n')}\n`;
  }
});
