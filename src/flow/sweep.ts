// The sweep: what was left behind is found and finished. Every worker is ready to; one does, while its
// lease on it lasts, since what it looks at grows with everybody's slots.
import type { Context } from '../context.ts';
import { crashPoint } from '../crash.ts';
import { rotatePartitions } from '../db/partitions.ts';
import type { Tx } from '../db/pool.ts';
import { isConnectionError, transaction } from '../db/transaction.ts';
import type { Bell, Bounds } from '../domain/job.ts';
import { renderAccountEvent } from '../domain/event.ts';
import { newId } from '../domain/ids.ts';
import { money } from '../domain/money.ts';
import { endWaiting, type Outcome } from '../domain/outcome.ts';
import { writePostings } from '../ledger/post.ts';
import { type Posting, postExpire } from '../ledger/posting.ts';
import { lockAccounts, writeAccounts } from '../store/accounts.ts';
import { databaseNow } from '../store/clock.ts';
import { appendEvents, type Event } from '../store/events.ts';
import { lockOpen } from '../store/jobs.ts';
import {
  accountsDue,
  accountsStarved,
  disableRoute,
  holdSweep,
  lapsedLots,
  leaveSweep,
  type Orphan,
  orphans,
  overdue,
  overrunRoutes,
  ringAgain,
} from '../store/sweep.ts';
import { buryWorkers } from '../store/workers.ts';
import type { Announcer } from './announce.ts';
import { endJob, openChanges, refill, writeChanges } from './changes.ts';
import { countStored, partialChat } from './count.ts';
import { openRemoveOrphans } from './remove-orphans.ts';
import { openRingLost } from './ring-lost.ts';
import type { Settle } from './settle.ts';

export interface SweepTools {
  announcer: Announcer;
  settle: Settle;
}

/** The most that one task does in one pass, so that a pass stays short. */
const PASS_MAX = 500;

type Task = (ctx: Context, tools: SweepTools) => Promise<void>;

/** Done at every pass, in this order. */
const TASKS: Record<string, Task> = { takeBack, ringUnheard, expireWaiting, refillDue, expireLots };
/** Done at every sixtieth. */
const SLOW_TASKS: Record<string, Task> = { rotate, guardOverrun, refillStarved };
/** A sweeper that is gone for so many pauses is followed by another. */
const LEASE_PAUSES = 3;

export interface Sweeper {
  /** Does nothing while another sweeps. */
  pass(): Promise<void>;
  /** Another may sweep at once. */
  leave(): Promise<void>;
}

/** A task that fails is logged and does not keep the others from being done. */
export function openSweep(ctx: Context, tools: SweepTools): Sweeper {
  const holder = newId('wkr');
  const everyPass = { ringLost: openRingLost(), ...TASKS };
  const slow = { ...SLOW_TASKS, removeOrphans: openRemoveOrphans() };
  let passes = 0;
  const attempt = async (name: string, work: () => Promise<unknown>): Promise<unknown> => {
    try {
      return await work();
    } catch (error) {
      ctx.log[isConnectionError(error) ? 'warn' : 'error'](
        { err: { message: (error as Error).message }, task: name },
        'a task of the sweep failed',
      );
      return undefined;
    }
  };
  const hold = (): Promise<unknown> =>
    attempt('hold', () => holdSweep(ctx.flow, { holder, forMs: LEASE_PAUSES * ctx.config.sweepMs }));
  return {
    async pass() {
      if (!(await hold())) return;
      const tasks = passes++ % 60 === 0 ? { ...everyPass, ...slow } : everyPass;
      for (const [name, task] of Object.entries(tasks)) {
        await attempt(name, () => task(ctx, tools));
        // A pass may take longer than the lease; whoever took over does the rest.
        if (!(await hold())) return;
      }
    },
    async leave() {
      await attempt('leave', () => leaveSweep(ctx.flow, holder));
    },
  };
}

/** Jobs of workers that are gone wait again, at no attempt; those whose stop was asked end. */
async function takeBack(ctx: Context, { settle }: SweepTools): Promise<void> {
  const found = await transaction(ctx.flow, async (tx) => {
    await buryWorkers(tx);
    return orphans(tx, { leaseMs: ctx.config.leaseMs, limit: PASS_MAX });
  });
  if (found.length === 0) return;
  const settled = await Promise.all(
    found.map(async (orphan) =>
      settle({ ...orphan, outcome: await lastWord(ctx, orphan), evidence: null, artifacts: [] }),
    ),
  );
  crashPoint('sweep-between');
  ctx.log.info({ jobs: settled.filter(Boolean).length }, 'jobs of lost workers were taken back');
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

async function ringUnheard(ctx: Context, { announcer }: SweepTools): Promise<void> {
  announcer.ring(await ringAgain(ctx.flow, PASS_MAX));
}

async function expireWaiting(ctx: Context, { announcer }: SweepTools): Promise<void> {
  const found = await overdue(ctx.flow, PASS_MAX);
  if (found.length === 0) return;
  const bells = await transaction(ctx.flow, async (tx) => {
    const { changes, jobs } = await openChanges(ctx, tx, {
      wanted: found,
      lock: (tx) => lockOpen(tx, found),
    });
    for (const job of jobs.values()) {
      if (job.status === 'queued' && job.deadline <= changes.now) endJob(changes, job, endWaiting('expired'));
    }
    return writeChanges(tx, changes);
  });
  announcer.ring(bells);
  announcer.wake(found.map((job) => ({ type: 'job', ...job })));
}

/** Back-offs that ran out. */
async function refillDue(ctx: Context, { announcer }: SweepTools): Promise<void> {
  announcer.ring(await refillAccounts(ctx, await accountsDue(ctx.flow, PASS_MAX)));
}

/** Slots that a change of plan set free, by hand in the database, say. */
async function refillStarved(ctx: Context, { announcer }: SweepTools): Promise<void> {
  announcer.ring(await refillAccounts(ctx, await accountsStarved(ctx.flow, PASS_MAX)));
}

/** Refill for accounts named from outside a settlement. The caller rings. */
async function refillAccounts(ctx: Context, accountIds: readonly string[]): Promise<Bell[]> {
  if (accountIds.length === 0) return [];
  return transaction(ctx.flow, async (tx: Tx) => {
    const [accounts, now] = await Promise.all([lockAccounts(tx, accountIds), databaseNow(tx)]);
    const bells = await refill(tx, { ctx, now, accounts });
    if (bells.length > 0) writeAccounts(tx, accounts.values());
    return bells;
  });
}

/** What is left in a lot that lapsed is gone; what is held of it goes when it comes back. */
async function expireLots(ctx: Context, { announcer }: SweepTools): Promise<void> {
  const found = await lapsedLots(ctx.flow, PASS_MAX);
  if (found.length === 0) return;
  await transaction(ctx.flow, async (tx) => {
    const accounts = await lockAccounts(
      tx,
      found.map((lot) => lot.accountId),
    );
    const { rows } = await tx.query<{ id: string; accountId: string; remaining: bigint; now: Date }>(
      `select id, account_id as "accountId", remaining, (select millrace_now()) as now from lots
        where id = any($1) and remaining > 0 and expires_at <= (select millrace_now()) order by id for no key update`,
      [found.map((lot) => lot.id)],
    );
    const postings: Posting[] = [];
    const events: Event[] = [];
    for (const { id, accountId, remaining, now } of rows) {
      const account = accounts.get(accountId);
      if (!account) continue;
      postings.push(postExpire(account, [{ lotId: id, amount: remaining }]));
      account.eventSequence += 1n;
      const { livemode, available } = account;
      const event = {
        id: newId('ev'),
        type: 'credits.expired',
        sequence: account.eventSequence,
        at: now,
        accountId,
        livemode,
      };
      const data = { lot_id: id, expired: money(remaining), available: money(available) };
      events.push({ ...event, jobId: null, body: renderAccountEvent(event, data) });
    }
    const now = rows[0]?.now ?? new Date();
    writePostings(tx, postings, now);
    appendEvents(tx, events, now);
    writeAccounts(tx, accounts.values());
  });
  announcer.wake(found.map(({ accountId }) => ({ type: 'account', accountId })));
}

async function rotate(ctx: Context): Promise<void> {
  for (const left of await rotatePartitions(ctx.flow))
    ctx.log.info(left, 'partitions are left as they are for now');
}

async function guardOverrun(ctx: Context): Promise<void> {
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
}
