import type { Kind } from '../domain/job.ts';
import { openAnnouncer } from '../flow/announce.ts';
import { openSettlement } from '../flow/settle.ts';
import type { Platform } from '../platform.ts';
import { openProviders } from '../providers/registry.ts';
import { startGenerating } from './generate.ts';
import { startSweeping } from './sweep.ts';

export interface RunningWorker {
  drain(): Promise<void>;
}

/** One worker: generates for some queues, and takes its share of the sweep. */
export async function startWorker(
  { ctx, simUrl }: Platform,
  options: { queues: readonly Kind[]; concurrency: number },
): Promise<RunningWorker> {
  const announcer = openAnnouncer(ctx);
  const settle = openSettlement(ctx, announcer);
  const providers = openProviders({ simUrl });
  const generator = await startGenerating(ctx, {
    ...options,
    announcer,
    settle,
    provider: (name) => providers.get(name),
  });
  const sweeping = startSweeping(ctx, { announcer, settle });
  return {
    async drain() {
      await generator.drain(ctx.config.drainSeconds * 1000);
      await sweeping.stop();
      await announcer.quiet();
      await providers.close();
    },
  };
}
