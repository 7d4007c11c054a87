// What time has taken: waiting jobs past their deadline, lots past theirs.
import type { Context } from '../context.ts';
import { groupCommit } from '../db/group-commit.ts';
import type { Tx } from '../db/pool.ts';
import { LIST_LOCK_MS, transaction } from '../db/transaction.ts';
import { renderAccountEvent } from '../domain/event.ts';
import { newId } from '../domain/ids.ts';
import type { Bell } from '../domain/job.ts';
import { money } from '../domain/money.ts';
import { endWaiting } from '../domain/outcome.ts';
import { writePostings } from '../ledger/post.ts';
import { type Posting, postExpire } from '../ledger/posting.ts';
import { lockAccounts, writeAccounts } from '../store/accounts.ts';
import { appendEvents, type Event } from '../store/events.ts';
import { lockOpen, type OpenJob } from '../store/open-jobs.ts';
import { alone, lapsedLots, type Named, overdue } from '../store/sweep.ts';
import { endJob, openChanges, writeChanges } from './changes.ts';
import { PASS_MAX, type SweepTask, type SweepTools } from './sweep-task.ts';

/** Accounts stay locked for as long as a list takes. */
const LIST_MAX = 100;
/** Of an account that somebody holds: the next pass finds them again. */
const PATIENCE_MS = 3_000;

/** In lists, so that a job which cannot be ended stands alone in the end and keeps nobody from it. */
export async function expireWaiting(ctx: Context, tools: SweepTools): Promise<boolean> {
  const found = await overdue(ctx.flow, PASS_MAX);
  const expire = groupCommit((jobs: Named[]) => expireList(ctx, tools, jobs), {
    max: LIST_MAX,
    inFlight: 1,
    lane: ({ accountId }) => accountId,
    patienceMs: PATIENCE_MS,
  });
  const ended = await Promise.allSettled(found.map(expire));
  const broken = ended.find((one) => one.status === 'rejected');
  if (broken) throw broken.reason;
  return ended.filter((one) => one.status === 'fulfilled' && one.value).length >= PASS_MAX;
}

/** Which of them ended. */
async function expireList(ctx: Context, { announcer }: SweepTools, list: Named[]): Promise<boolean[]> {
  const work = async (tx: Tx): Promise<{ bells: Bell[]; late: OpenJob[]; toDeliver: Promise<boolean> }> => {
    if (!(await alone(tx, 'expireWaiting')))
      return { bells: [], late: [], toDeliver: Promise.resolve(false) };
    const { changes, jobs } = await openChanges(ctx, tx, { wanted: list, lock: (tx) => lockOpen(tx, list) });
    const late = [...jobs.values()].filter((job) => job.status === 'queued' && job.deadline <= changes.now);
    for (const job of late) endJob(changes, job, endWaiting('expired'));
    return { bells: await writeChanges(tx, changes), late, toDeliver: changes.toDeliver };
  };
  const { bells, late, toDeliver } = await transaction(ctx.flow, work, { lockMs: LIST_LOCK_MS });
  ctx.counts.ended(late.map(({ kind }) => ({ kind, status: 'expired' })));
  const ended = new Set(late.map((job) => job.id));
  announcer.ring(bells);
  announcer.deliver(toDeliver);
  announcer.wake(list.map((job) => ({ type: 'job', ...job })));
  return list.map((job) => ended.has(job.jobId));
}

/** What is left in a lot that lapsed is gone; what is held of it goes when it comes back. */
export const expireLots: SweepTask = async (ctx, { announcer }) => {
  const found = await lapsedLots(ctx.flow, PASS_MAX);
  if (found.length === 0) return false;
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
  return found.length === PASS_MAX;
};
