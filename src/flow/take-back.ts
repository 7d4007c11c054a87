// Jobs that run at nobody's: their worker is gone.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Context } from '../context.ts';
import { crashPoint } from '../crash.ts';
import { isConnectionError, transaction } from '../db/transaction.ts';
import type { Bounds } from '../domain/job.ts';
import type { Outcome } from '../domain/outcome.ts';
import { alone, type Orphan, orphans } from '../store/sweep.ts';
import { buryWorkers } from '../store/workers.ts';
import { countStored, partialChat } from './count.ts';
import type { Endings } from './end-remote.ts';
import type { Settle } from './settle.ts';
import { PASS_MAX, type SweepTask } from './sweep-task.ts';

/** A pass waits no longer for those whose account somebody holds: they are in hand, and it is not the last pass. */
const PASS_MS = 5_000;

/** They wait again, at no attempt; those whose stop was asked end, by their vendor's word where it can be asked. */
export function openTakeBack(endings: Endings): SweepTask {
  const inHand = new Set<string>();
  return async (ctx, { settle }) => {
    const found = await transaction(ctx.flow, async (tx) => {
      if (!(await alone(tx, 'takeBack'))) return [];
      await buryWorkers(tx);
      return orphans(tx, { leaseMs: ctx.config.leaseMs, limit: PASS_MAX });
    });
    const fresh = found.filter((orphan) => !inHand.has(orphan.jobId) && !endings.take(orphan));
    if (fresh.length === 0) return false;
    const taken = Promise.allSettled(
      fresh.map((orphan) => {
        inHand.add(orphan.jobId);
        return takeOne(ctx, settle, orphan).finally(() => inHand.delete(orphan.jobId));
      }),
    );
    const settled = await Promise.race([taken, sleep(PASS_MS, null, { ref: false })]);
    crashPoint('sweep-between');
    if (settled === null)
      throw new Error('jobs of lost workers wait for accounts that somebody holds locked');
    const back = settled.filter((one) => one.status === 'fulfilled' && one.value).length;
    ctx.log.info({ jobs: back }, 'jobs of lost workers were taken back');
    // One that cannot be settled must not keep the others where they are, but it must be seen.
    const broken = settled.find((one) => one.status === 'rejected');
    if (broken) throw broken.reason;
    return back === PASS_MAX;
  };
}

async function takeOne(ctx: Context, settle: Settle, orphan: Orphan): Promise<boolean> {
  const outcome = await lastWord(ctx, orphan).catch((error: Error): Outcome => {
    if (isConnectionError(error)) throw error;
    ctx.log.error(
      { err: error, job: orphan.jobId },
      "a lost worker's chat could not be read; it is taken back without",
    );
    return { type: 'interrupted', used: null };
  });
  return settle({ ...orphan, outcome, evidence: null, artifacts: [] });
}

/** What a chat had said is kept with its end: if its stop was asked, that is what is charged. */
async function lastWord(ctx: Context, orphan: Orphan): Promise<Outcome> {
  if (orphan.kind !== 'chat') return { type: 'interrupted', used: null };
  const { accountId, jobId, epoch, model, boundsJson } = orphan;
  const input = orphan.inputJson ?? (await ctx.storage.read(orphan.inputKey ?? '')).toString('utf8');
  const counted = { model, input, bounds: JSON.parse(boundsJson) as Bounds };
  const { text, deltas, usage } = await countStored(ctx, counted, { accountId, jobId, attempt: epoch });
  // Nothing stored: nobody knows whether the call had begun.
  return { type: 'interrupted', used: deltas === 0 ? null : { output: partialChat(text), usage } };
}
