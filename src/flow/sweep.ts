// The sweep: what was left behind is found and finished. Every worker is ready to; one does, while its
// lease on it lasts, since what it looks at grows with everybody's slots.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Context } from '../context.ts';
import type { Tx } from '../db/pool.ts';
import { isConnectionError, transaction } from '../db/transaction.ts';
import type { Bell } from '../domain/job.ts';
import { newId } from '../domain/ids.ts';
import { rotatePartitions } from '../db/partitions.ts';
import { findAccounts, lockAccounts, writeAccounts } from '../store/accounts.ts';
import { databaseNow } from '../store/clock.ts';
import {
  accountsInLine,
  alone,
  backOffsOver,
  disableRoute,
  endBackOffs,
  holdSweep,
  leaveSweep,
  overrunRoutes,
  ringAgain,
} from '../store/sweep.ts';
import { freeSlots, refill } from './changes.ts';
import { openEndings } from './end-remote.ts';
import { expireLots, expireWaiting } from './expire.ts';
import { forgetDeliveries } from './forget-deliveries.ts';
import { removeOrphans } from './remove-orphans.ts';
import { openRingLost } from './ring-lost.ts';
import { endRetention } from './retention.ts';
import { PASS_MAX, type SweepTask, type SweepTools } from './sweep-task.ts';
import { openTakeBack } from './take-back.ts';
import { removeTickets } from './tickets.ts';

/** Done at every pass, in this order. */
const TASKS: Record<string, SweepTask> = {
  ringUnheard,
  expireWaiting,
  refillDue,
  expireLots,
};
/** Done at every sixtieth. */
const SLOW_TASKS: Record<string, SweepTask> = {
  rotate,
  guardOverrun,
  refillForgotten,
  forgetDeliveries: async (ctx) => (await forgetDeliveries(ctx), false),
  removeTickets,
};
const SLOW = 60;
/** Begun by every pass, and by every sixtieth, and waited for by none: storage may be slow, or away, and no job's end hangs on it. */
const BESIDE: Record<string, BesideTask> = { endRetention };
const SLOW_BESIDE: Record<string, BesideTask> = { removeOrphans };
type BesideTask = (ctx: Context, gone: AbortSignal) => Promise<unknown>;
/** What is under way beside gets so long to stop. */
const LEAVE_MS = 1_000;
/** A sweeper that is gone for so many pauses is followed by another. */
const LEASE_PAUSES = 3;

export interface Sweeper {
  /** Answers whether more is left than one pass may do: then the next should follow at once. Nothing while another sweeps. */
  pass(): Promise<boolean>;
  /** Another may sweep at once. */
  leave(): Promise<void>;
}

/**
 * A task that fails does not keep the others from being done. It is logged when it begins to fail, or to fail otherwise,
 * and when it works again: an outage of minutes is not worth a line a second from each.
 */
export function openSweep(ctx: Context, tools: SweepTools): Sweeper {
  const holder = newId('wkr');
  const endings = openEndings(ctx, tools);
  const everyPass: Record<string, SweepTask> = {
    ringLost: openRingLost(),
    takeBack: openTakeBack(endings),
    ...TASKS,
  };
  const failing = new Map<string, string>();
  const gone = new AbortController();
  let passes = 0;
  /** False also if it failed. */
  const attempt = async (name: string, work: () => Promise<boolean>): Promise<boolean> => {
    try {
      const answer = await work();
      if (failing.delete(name)) ctx.log.info({ task: name }, 'a task of the sweep works again');
      return answer;
    } catch (error) {
      const { message } = error as Error;
      if (failing.get(name) === message || gone.signal.aborted) return false;
      failing.set(name, message);
      ctx.log[isConnectionError(error) ? 'warn' : 'error'](
        { err: error, task: name },
        'a task of the sweep failed',
      );
      return false;
    }
  };
  const beside = new Map<string, Promise<unknown>>();
  const begin = (tasks: Record<string, BesideTask>): void => {
    for (const [name, task] of Object.entries(tasks)) {
      if (beside.has(name)) continue;
      const work = attempt(name, async () => (await task(ctx, gone.signal), false));
      beside.set(
        name,
        work.finally(() => beside.delete(name)),
      );
    }
  };
  const forMs = LEASE_PAUSES * ctx.config.sweepMs;
  const hold = (): Promise<boolean> => attempt('hold', () => holdSweep(ctx.flow, { holder, forMs }));
  return {
    async pass() {
      if (!(await hold())) return false;
      const slow = passes++ % SLOW === 0;
      const tasks = slow ? { ...everyPass, ...SLOW_TASKS } : everyPass;
      begin(slow ? { ...BESIDE, ...SLOW_BESIDE } : BESIDE);
      let more = false;
      for (const [name, task] of Object.entries(tasks)) {
        more = (await attempt(name, () => task(ctx, tools))) || more;
        // A pass may take longer than the lease; whoever took over does the rest.
        if (!(await hold())) return false;
      }
      return more;
    },
    async leave() {
      gone.abort();
      await endings.leave();
      await Promise.race([Promise.all(beside.values()), sleep(LEAVE_MS, undefined, { ref: false })]);
      await attempt('leave', async () => (await leaveSweep(ctx.flow, holder), false));
    },
  };
}

/** And whose jobs have not been heard may have lower slots free by now. */
async function ringUnheard(ctx: Context, { announcer }: SweepTools): Promise<boolean> {
  const bells = await ringAgain(ctx.flow, PASS_MAX);
  announcer.ring(bells);
  const accountIds = [...new Set(bells.map((bell) => bell.accountId))];
  announcer.ring(await refillAccounts(ctx, accountIds, { unheard: true }));
  return bells.length === PASS_MAX;
}

/** Each back-off that ran out is seen once: from then on its job waits as the rest of the line does. */
async function refillDue(ctx: Context, { announcer }: SweepTools): Promise<boolean> {
  const { bells, full } = await transaction(ctx.flow, async (tx) => {
    const due = (await alone(tx, 'refillDue')) ? await backOffsOver(tx, PASS_MAX) : [];
    const accountIds = due.map((job) => job.accountId);
    const refilled = await refillIn(tx, ctx, { accountIds, before: () => endBackOffs(tx, due) });
    return { bells: refilled, full: due.length === PASS_MAX };
  });
  announcer.ring(bells);
  return full;
}

/** Lines with a free slot that nobody saw: a plan that was changed past us, say. Looked at without a lock. */
async function refillForgotten(ctx: Context, { announcer }: SweepTools): Promise<boolean> {
  for (let after = ''; ;) {
    const ids = await accountsInLine(ctx.flow, after, PASS_MAX);
    const open = (await findAccounts(ctx.flow, ids)).filter((account) => freeSlots(ctx, account) > 0);
    const bells = await refillAccounts(
      ctx,
      open.map(({ id }) => id),
    );
    announcer.ring(bells);
    const last = ids.at(-1);
    if (last === undefined || ids.length < PASS_MAX) return false;
    after = last;
  }
}

/** Refill for accounts named from outside a settlement. The caller rings. */
export async function refillAccounts(
  ctx: Context,
  accountIds: readonly string[],
  { unheard = false }: { unheard?: boolean } = {},
): Promise<Bell[]> {
  if (accountIds.length === 0) return [];
  return transaction(ctx.flow, (tx) => refillIn(tx, ctx, { accountIds, unheard }));
}

interface Refill {
  accountIds: readonly string[];
  unheard?: boolean;
  /** Done once the accounts are locked. */
  before?(): void;
}

async function refillIn(
  tx: Tx,
  ctx: Context,
  { accountIds, unheard = false, before }: Refill,
): Promise<Bell[]> {
  if (accountIds.length === 0) return [];
  const [accounts, now] = await Promise.all([lockAccounts(tx, accountIds), databaseNow(tx)]);
  before?.();
  const bells = await refill(tx, { ctx, now, accounts, unheard });
  if (bells.length > 0) writeAccounts(tx, accounts.values());
  return bells;
}

async function rotate(ctx: Context): Promise<boolean> {
  for (const left of await rotatePartitions(ctx.flow))
    ctx.log.info(left, 'partitions are left as they are for now');
  return false;
}

async function guardOverrun(ctx: Context): Promise<boolean> {
  for (const { id, overrun, captured } of await overrunRoutes(ctx.flow)) {
    await disableRoute(ctx.flow, {
      id,
      reason: `its overrun of ${overrun} credits passed 1% of ${captured} captured in an hour`,
    });
    ctx.log.error(
      { route: id, overrun: Number(overrun), captured: Number(captured) },
      'a route was switched off: its vendor bills more than the bounds allow',
    );
    ctx.bus.publish([{ type: 'catalogue' }]);
  }
  return false;
}
