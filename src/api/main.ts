// The API alone: `npm run api`.
import type { Address } from '../context.ts';
import { openPlatformFor } from '../platform.ts';
import { commandLine, runCommand } from '../process.ts';
import { startApi } from './start.ts';

commandLine('npm run api', 'Runs the API alone; workers do the jobs, see npm run worker -- --help.', [
  'api',
]).parse();

await runCommand(async (life) => {
  const address: Address = { url: null };
  const platform = await openPlatformFor(life, { address });
  const { log } = platform.ctx;
  const api = await startApi(platform, address);
  life.defer(() => api.close());
  log.info(`API at ${api.url}`);
  await life.untilStopped(log);
});
