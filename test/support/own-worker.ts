// A worker as `workers/start.ts` makes one, but with the provider a test hands it: one with short limits, say, or without a
// way to stop.
import { openAnnouncer } from '../../src/flow/announce.ts';
import { KINDS } from '../../src/domain/job.ts';
import { openSettlement } from '../../src/flow/settle.ts';
import type { Platform } from '../../src/platform.ts';
import type { Provider } from '../../src/providers/provider.ts';
import { startGenerating } from '../../src/workers/generate.ts';
import { startSweeping } from '../../src/workers/sweep.ts';

export interface OwnWorker {
  /** Takes nothing more, waits so long for what runs, hands back the rest. */
  drain(forMs: number): Promise<void>;
}

export async function startOwnWorker({ ctx }: Platform, provider: Provider): Promise<OwnWorker> {
  const announcer = openAnnouncer(ctx);
  const settle = openSettlement(ctx, announcer);
  const generator = await startGenerating(ctx, {
    queues: KINDS,
    concurrency: 50,
    announcer,
    settle,
    provider: () => provider,
  });
  const sweeping = startSweeping(ctx, { announcer, settle, provider: () => provider });
  return {
    async drain(forMs) {
      await generator.drain(forMs);
      await sweeping.stop();
      await provider.close();
    },
  };
}
