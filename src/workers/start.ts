import { join } from 'node:path';
import type { Kind } from '../domain/job.ts';
import { openAnnouncer } from '../flow/announce.ts';
import { openSettlement, type Settle } from '../flow/settle.ts';
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
  let handedBack = 0;
  let draining = false;
  const counted: Settle = async (settlement) => {
    const settled = await settle(settlement);
    if (settled && settlement.outcome.type === 'interrupted') handedBack += 1;
    return settled;
  };
  // Ours alone: what the sweep takes back of others is settled past this.
  const settleOwn: Settle = (settlement) => (draining ? counted(settlement) : settle(settlement));
  const providers = openProviders({ simUrl, exec: machineOf(ctx) });
  const provider = (name: string) => providers.get(name);
  const generator = await startGenerating(ctx, {
    ...options,
    announcer,
    settle: settleOwn,
    provider,
    engines: () => providers.engines(),
  });
  const sweeping = startSweeping(ctx, { announcer, settle, provider });
  return {
    async drain() {
      draining = true;
      const before = endedSoFar(ctx);
      await generator.drain(ctx.config.drainSeconds * 1000);
      await sweeping.stop();
      await announcer.quiet();
      await providers.close();
      const told = { ended: endedSoFar(ctx) - before, handed_back: handedBack };
      ctx.log.info(told, 'the worker has stopped');
    },
  };
}

const machineOf = ({ config: { enginePath, engineModelsDir, dataDir } }: Platform['ctx']) => ({
  path: enginePath,
  modelsDir: engineModelsDir,
  roomsDir: join(dataDir, 'engine-calls'),
});

const endedSoFar = ({ counts }: Platform['ctx']): number =>
  counts.endings().reduce((sum, { count }) => sum + count, 0);
