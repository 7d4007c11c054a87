// Jobs whose stop was asked and whose worker is gone, while their work goes on at a vendor under a name that is known. They are
// not run again: the vendor is asked to stop, and what it does not confirm is waited for and paid, as if the worker lived
// (contract 0). Beside the passes of the sweep, since a vendor may take minutes.
import type { Context } from '../context.ts';
import type { Orphan } from '../store/sweep.ts';
import { type Brake, openBrake } from './brake.ts';
import { callbackUrl } from './callback.ts';
import { findRoute, openRoute } from './open-call.ts';
import { Pauses } from './pauses.ts';
import { openDeltaLog } from './record-deltas.ts';
import { run, type RunTools } from './run.ts';
import type { SweepTools } from './sweep-task.ts';

/** So many at once; what is beyond ends as if nothing were known of its work. */
const MOST = 50;

export interface Endings {
  /** False: it is none of ours. True: it is being ended, from now on or already. */
  take(orphan: Orphan): boolean;
  /** Lets go: another sweep begins anew with those that are left. */
  leave(): Promise<void>;
}

export function openEndings(ctx: Context, { announcer, settle, provider }: SweepTools): Endings {
  const tools: RunTools = { provider, appendDeltas: openDeltaLog(ctx, announcer), pauses: new Pauses() };
  const ending = new Map<string, { brake: Brake; done: Promise<void> }>();

  const end = async (orphan: Orphan, brake: Brake): Promise<void> => {
    const settlement = await run(ctx, tools, { claimed: orphan, brake, onlyAsk: true });
    if (settlement && settlement.outcome.type !== 'interrupted') await settle(settlement);
  };
  return {
    take(orphan) {
      if (ending.has(orphan.jobId)) return true;
      const named = orphan.earlier.some(({ remoteId }) => remoteId !== null);
      if (!named || !(orphan.cancelRequested || orphan.remainingMs <= 0)) return false;
      if (orphan.kind === 'chat') {
        // What it said is what it costs, whatever the vendor does: nobody has to wait.
        hangUp(ctx, tools, orphan).catch((error: unknown) =>
          ctx.log.warn(
            { err: error, job: orphan.jobId },
            "a lost worker's chat was not hung up at its vendor",
          ),
        );
        return false;
      }
      if (ending.size >= MOST) return false;
      const brake = openBrake();
      brake.pull(orphan.cancelRequested ? 'cancel' : 'deadline');
      const done = end(orphan, brake)
        .catch((error: unknown) =>
          ctx.log.error({ err: error, job: orphan.jobId }, "a lost worker's job was not ended"),
        )
        .finally(() => ending.delete(orphan.jobId));
      ending.set(orphan.jobId, { brake, done });
      return true;
    },
    async leave() {
      const left = [...ending.values()];
      for (const { brake } of left) brake.pull('leave');
      await Promise.all(left.map(({ done }) => done));
    },
  };
}

async function hangUp(ctx: Context, tools: RunTools, { accountId, jobId, earlier }: Orphan): Promise<void> {
  for (const { routeId, attempt, remoteId } of earlier) {
    const row = await findRoute(ctx, routeId).catch(() => undefined);
    if (!row) continue;
    const key = {
      accountId,
      jobId,
      attempt,
      remoteId,
      callbackUrl: callbackUrl(ctx, { jobId, attempt }),
    };
    await tools
      .provider(row.provider)
      .stop?.(openRoute(ctx, row), key)
      .catch(() => false);
  }
}
