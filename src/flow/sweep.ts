// The sweep: what was left behind is found and finished. Every worker runs it; each task is done by one at a time.
import type { Context } from '../context.ts';
import { crashPoint } from '../crash.ts';
import type { Db } from '../db/pool.ts';
import { isConnectionError, transaction } from '../db/transaction.ts';
import { type Bell, KINDS } from '../domain/job.ts';
import { renderAccountEvent } from '../domain/event.ts';
import { newId } from '../domain/ids.ts';
import { money } from '../domain/money.ts';
import { endWaiting, type Outcome } from '../domain/outcome.ts';
import { writePostings } from '../ledger/post.ts';
import { type Posting, postExpire } from '../ledger/posting.ts';
import { lockAccounts, writeAccounts } from '../store/accounts.ts';
import { databaseNow } from '../store/clock.ts';
import { deltasFrom } from '../store/deltas.ts';
import { appendEvents, type Event } from '../store/events.ts';
import { lockOpen } from '../store/jobs.ts';
import {
  accountsDue,
  alone,
  disableRoute,
  expectedDepths,
  lapsedLots,
  type Orphan,
  orphans,
  overdue,
  overrunRoutes,
  ringAgain,
  ringAll,
} from '../store/sweep.ts';
import { buryWorkers } from '../store/workers.ts';
import type { Announcer } from './announce.ts';
import { endJob, openChanges, refill, writeChanges } from './changes.ts';
import { countTokens } from './keep-output.ts';
import { promptBytes } from './run.ts';
import type { Settle } from './settle.ts';

export interface SweepTools {
  announcer: Announcer;
  settle: Settle;
}

/** The most that one task does in one pass, so that a pass stays short. */
const PASS_MAX = 500;

type Task = (ctx: Context, tools: SweepTools) => Promise<void>;

/** Done at every pass, in this order. */
const TASKS: Record<string, Task> = { takeBack, ringLost, ringUnheard, expireWaiting, refillDue, expireLots };
/** Done at every sixtieth. */
const SLOW_TASKS: Record<string, Task> = { rotate, guardOverrun };

export interface Sweeper {
  pass(): Promise<void>;
}

/** A task that fails is logged and does not keep the others from being done. */
export function openSweep(ctx: Context, tools: SweepTools): Sweeper {
  let passes = 0;
  return {
    async pass() {
      const tasks = passes++ % 60 === 0 ? { ...TASKS, ...SLOW_TASKS } : TASKS;
      for (const [name, task] of Object.entries(tasks)) {
        try {
          await task(ctx, tools);
        } catch (error) {
          ctx.log[isConnectionError(error) ? 'warn' : 'error'](
            { err: error, task: name },
            'a task of the sweep failed',
          );
        }
      }
    },
  };
}

/** Jobs of workers that are gone wait again, at no attempt; those whose stop was asked end. */
async function takeBack(ctx: Context, { settle }: SweepTools): Promise<void> {
  const found = await transaction(ctx.flow, async (tx) => {
    if (!(await alone(tx, 'takeBack'))) return [];
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

/** A chat job whose stop was asked is charged for what its subscribers could read. */
async function lastWord(ctx: Context, orphan: Orphan): Promise<Outcome> {
  if (!orphan.stopAsked || orphan.kind !== 'chat') return { type: 'interrupted' };
  const { accountId, jobId, epoch: attempt } = orphan;
  const text = (await deltasFrom(ctx.flow, { accountId, jobId, attempt, from: 0 }))
    .flatMap((step) => JSON.parse(step.deltasJson) as { content?: unknown }[])
    .map((delta) => (typeof delta.content === 'string' ? delta.content : ''))
    .join('');
  const input = orphan.inputJson ?? (await ctx.storage.read(orphan.inputKey ?? '')).toString('utf8');
  const bytesPerToken = ctx.catalogue().models.get(orphan.model)?.data.bytes_per_token ?? 4;
  const usage = countTokens({ promptBytes: promptBytes(input), text, bytesPerToken });
  return {
    type: 'stopped',
    reason: 'cancel',
    output: `{"text":${JSON.stringify(text)},"completion":null}`,
    usage,
  };
}

/** If the queue holds fewer messages than there are jobs waiting with a slot, it has forgotten some: all are rung. */
async function ringLost(ctx: Context, { announcer }: SweepTools): Promise<void> {
  const expected = await expectedDepths(ctx.flow);
  for (const kind of KINDS) {
    const jobs = expected.get(kind) ?? 0;
    if (jobs === 0 || (await ctx.queue.depth(kind)) >= jobs) continue;
    let bells: Bell[];
    do {
      bells = await ringAll(ctx.flow, kind, PASS_MAX);
      announcer.ring(bells);
    } while (bells.length === PASS_MAX);
    ctx.log.warn({ kind, expected: jobs }, 'the queue had lost messages; its jobs were rung again');
  }
}

async function ringUnheard(ctx: Context, { announcer }: SweepTools): Promise<void> {
  announcer.ring(await ringAgain(ctx.flow, PASS_MAX));
}

async function expireWaiting(ctx: Context, { announcer }: SweepTools): Promise<void> {
  const found = await overdue(ctx.flow, PASS_MAX);
  if (found.length === 0) return;
  const bells = await transaction(ctx.flow, async (tx) => {
    const { changes, jobs } = await openChanges(ctx, tx, {
      accountIds: found.map((job) => job.accountId),
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

/** Back-offs that ran out, and slots that a change of plan set free. */
async function refillDue(ctx: Context, { announcer }: SweepTools): Promise<void> {
  announcer.ring(await refillAccounts(ctx, await accountsDue(ctx.flow, PASS_MAX)));
}

/** Refill for accounts named from outside a settlement. The caller rings. */
export async function refillAccounts(ctx: Context, accountIds: readonly string[]): Promise<Bell[]> {
  if (accountIds.length === 0) return [];
  return transaction(ctx.flow, async (tx: Db) => {
    const accounts = await lockAccounts(tx, accountIds);
    const now = await databaseNow(tx);
    const bells = await refill(tx, { ctx, now, accounts });
    if (bells.length > 0) await writeAccounts(tx, accounts.values());
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
    await writePostings(tx, postings, now);
    await appendEvents(tx, events, now);
    await writeAccounts(tx, accounts.values());
  });
  announcer.wake(found.map(({ accountId }) => ({ type: 'account', accountId })));
}

async function rotate(ctx: Context): Promise<void> {
  await ctx.flow.query('select rotate_partitions()');
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
