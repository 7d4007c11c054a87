// The API alone: `npm run api`.
import type { Address } from '../context.ts';
import { openPlatform } from '../platform.ts';
import { runCommand, untilStopped } from '../process.ts';
import { startApi } from './start.ts';

await runCommand(async () => {
  const address: Address = { url: null };
  const platform = await openPlatform({ address });
  const { log } = platform.ctx;
  const api = await startApi(platform, address);
  log.info(`API at ${api.url}`);
  await untilStopped(async () => {
    await api.close();
    await platform.ctx.close();
    await platform.leave();
  }, log);
  process.exit();
});
