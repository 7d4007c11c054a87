import type { Context } from '../context.ts';
import { openSweep } from '../flow/sweep.ts';
import type { SweepTools } from '../flow/sweep-task.ts';

export interface Sweeping {
  stop(): Promise<void>;
}

/**
 * Sweeps every `SWEEP_MS`, with jitter, so that many workers do not sweep in step; and at once again while there is more
 * than one pass may do. A pass never overlaps the next.
 */
export function startSweeping(ctx: Context, tools: SweepTools): Sweeping {
  const sweeper = openSweep(ctx, tools);
  let stopped = false;
  let timer: NodeJS.Timeout | null = null;
  let passing: Promise<void> = Promise.resolve();
  const next = (more: boolean): void => {
    if (stopped) return;
    timer = setTimeout(
      () => {
        passing = sweeper.pass().then(next);
      },
      more ? 0 : ctx.config.sweepMs * (0.75 + Math.random() / 2),
    );
  };
  next(false);
  return {
    async stop() {
      stopped = true;
      if (timer) clearTimeout(timer);
      await passing;
      await sweeper.leave();
    },
  };
}
