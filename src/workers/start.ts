import { join } from 'node:path';
import { kindsOf, type QueueName } from '../domain/queues.ts';
import { openAnnouncer } from '../flow/announce.ts';
import { openSettlement, type Settle } from '../flow/settle.ts';
import type { Platform } from '../platform.ts';
import { openProviders } from '../providers/registry.ts';
import { startDelivering } from './deliver.ts';
import { startGenerating } from './generate.ts';
import { startSweeping } from './sweep.ts';

export interface RunningWorker {
  drain(): Promise<void>;
}

/** Webhook calls at once: mostly waiting, for receivers that may all hang at the same time. */
const WEBHOOK_CALLS = 400;

/** One worker: generates for some queues, brings events to webhooks, and takes its share of the sweep. */
export async function startWorker(
  { ctx, simUrl }: Platform,
  { queues, concurrency }: { queues: readonly QueueName[]; concurrency: number },
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
    queues: kindsOf(queues),
    serves: queues,
    concurrency,
    announcer,
    settle: settleOwn,
    provider,
    engines: () => providers.engines(),
  });
  const delivering = queues.includes('webhooks')
    ? startDelivering(ctx, { concurrency: WEBHOOK_CALLS })
    : null;
  const sweeping = startSweeping(ctx, { announcer, settle, provider });
  return {
    async drain() {
      draining = true;
      const before = endedSoFar(ctx);
      const forMs = ctx.config.drainSeconds * 1000;
      await Promise.all([generator.drain(forMs), delivering?.drain(forMs)]);
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
