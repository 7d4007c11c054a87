// What a transaction is about to do to jobs it has locked, gathered in memory and written as lists. Shared by every verb
// that ends a job or sends it back: settle, cancel, expire.
import type { Context } from '../context.ts';
import type { Tx } from '../db/pool.ts';
import { newId } from '../domain/ids.ts';
import type { Bell } from '../domain/job.ts';
import { renderJobEvent } from '../domain/job-view.ts';
import type { Verdict } from '../domain/outcome.ts';
import { termsFor } from '../domain/plan.ts';
import { routeAfter } from '../domain/routes.ts';
import { countBusy, giveFree, withSlot } from '../domain/slots.ts';
import { type HeldTake, heldTakes } from '../ledger/lots.ts';
import { writePostings } from '../ledger/post.ts';
import { type Posting, postCapture, postExpire, postRelease, splitTakes } from '../ledger/posting.ts';
import { type Account, lockAccounts, writeAccounts } from '../store/accounts.ts';
import { type Artifact, insertArtifacts } from '../store/artifacts.ts';
import { type EndedAttempt, endAttempts } from '../store/attempts.ts';
import { appendEvents, type Event } from '../store/events.ts';
import { endJobs, type EndedJob, type OpenJob, type RequeuedJob, requeueJobs } from '../store/open-jobs.ts';
import { giveSlots, moveSlots, nextInLine } from '../store/line.ts';

export interface Changes {
  ctx: Context;
  now: Date;
  accounts: Map<string, Account>;
  /** By job: what its hold took from which lot. */
  takes: Map<string, HeldTake[]>;
  postings: Posting[];
  events: Event[];
  ended: EndedJob[];
  requeued: RequeuedJob[];
  attempts: EndedAttempt[];
  artifacts: Artifact[];
  /** Known after the commit: whether any of the events has somewhere to be delivered. */
  toDeliver: Promise<boolean>;
}

interface Named {
  accountId: string;
  jobId: string;
}

/**
 * Locks the accounts, then (by `lock`) the jobs, and reads what ending them takes. In this order, everywhere; asked in
 * one breath.
 */
export async function openChanges(
  ctx: Context,
  tx: Tx,
  { wanted, lock }: { wanted: readonly Named[]; lock: (tx: Tx) => Promise<Map<string, OpenJob>> },
): Promise<{ changes: Changes; jobs: Map<string, OpenJob> }> {
  const [accounts, jobs, { now, takes }] = await Promise.all([
    lockAccounts(
      tx,
      wanted.map((job) => job.accountId),
    ),
    lock(tx),
    heldTakes(
      tx,
      wanted.map((job) => job.jobId),
    ),
  ]);
  const changes: Changes = {
    ctx,
    now,
    accounts,
    takes,
    postings: [],
    events: [],
    ended: [],
    requeued: [],
    attempts: [],
    artifacts: [],
    toDeliver: Promise.resolve(false),
  };
  return { changes, jobs };
}

/** Ends a job: its money, its slot or place, its last event. */
export function endJob(changes: Changes, job: OpenJob, verdict: Verdict & { type: 'end' }): void {
  const account = accountOf(changes, job);
  leave(account, job);
  resolveHold(changes, account, { job, verdict });
  const ended: OpenJob = {
    ...job,
    status: verdict.status,
    version: job.version + 1,
    cost: verdict.cost,
    outputJson: verdict.output,
    usageJson: verdict.usage && JSON.stringify(verdict.usage),
    errorJson: verdict.error && JSON.stringify(verdict.error),
    canceledBy: verdict.status === 'canceled' ? (job.canceledBy ?? 'client') : null,
    slot: null,
    endedAt: changes.now,
  };
  changes.ended.push({ ...ended, status: verdict.status, cost: verdict.cost });
  account.eventSequence += 1n;
  const event = {
    id: newId('ev'),
    type: `job.${verdict.status}`,
    sequence: account.eventSequence,
    at: changes.now,
  };
  const body = renderJobEvent(event, ended, changes.ctx.publicUrl());
  changes.events.push({ ...event, accountId: account.id, jobId: job.id, body, webhookUrl: job.webhook });
}

/** Sends a running job back to its place in the line, without its slot. */
export function sendBack(changes: Changes, job: OpenJob, verdict: Verdict & { type: 'again' }): void {
  const account = accountOf(changes, job);
  leave(account, job);
  account.lineWaiting += 1;
  changes.requeued.push({
    accountId: job.accountId,
    id: job.id,
    counts: verdict.counts,
    ambiguous: verdict.ambiguous,
    dueAt: verdict.waitMs > 0 ? new Date(changes.now.getTime() + verdict.waitMs) : null,
    routeId: verdict.counts === 'failure' ? nextRoute(changes.ctx, job) : job.routeId,
  });
}

function nextRoute(ctx: Context, job: OpenJob): string {
  const model = ctx.catalogue().models.get(job.model);
  return model ? routeAfter(model, job) : job.routeId;
}

function leave(account: Account, job: OpenJob): void {
  if (job.slot === null) account.lineWaiting -= 1;
  else account.busySlots = withSlot(account.busySlots, job.slot, false);
}

function resolveHold(
  changes: Changes,
  account: Account,
  { job, verdict }: { job: OpenJob; verdict: Verdict & { type: 'end' } },
): void {
  const takes = changes.takes.get(job.id) ?? [];
  const { capture, release } = splitTakes(takes, verdict.cost);
  const lapsed = release.filter(({ lotId }) => takes.some((take) => take.lotId === lotId && take.lapsed));
  if (capture.length > 0 || verdict.overrun > 0n) {
    changes.postings.push(postCapture(account, job.id, { takes: capture, overrun: verdict.overrun }));
  }
  if (release.length > 0) changes.postings.push(postRelease(account, job.id, release));
  // What comes back to a lot that lapsed meanwhile lapses too, in the same breath.
  if (lapsed.length > 0) changes.postings.push(postExpire(account, lapsed, job.id));
}

function accountOf(changes: Changes, job: OpenJob): Account {
  const account = changes.accounts.get(job.accountId);
  if (!account) throw new Error(`the account of ${job.id} is not locked`);
  return account;
}

/** Writes everything down, gives freed slots to the next in line, and says what is to be rung once it is committed. */
export async function writeChanges(tx: Tx, changes: Changes): Promise<Bell[]> {
  const { now } = changes;
  insertArtifacts(tx, changes.artifacts, now);
  endAttempts(tx, changes.attempts, now);
  endJobs(tx, changes.ended, now);
  requeueJobs(tx, changes.requeued);
  writePostings(tx, changes.postings, now);
  changes.toDeliver = appendEvents(tx, changes.events, now);
  const bells = await refill(tx, changes);
  writeAccounts(tx, changes.accounts.values());
  return bells;
}

/**
 * Gives the free slots of locked accounts to their next jobs, the lowest number first. The one way into a slot for a job
 * that waited; called whenever slots may have come free or a plan has changed. `unheard`: also where nobody waits in the
 * line, since jobs may wait in the queue with too high a slot.
 */
export async function refill(
  tx: Tx,
  { ctx, now, accounts, unheard = false }: Pick<Changes, 'ctx' | 'now' | 'accounts'> & { unheard?: boolean },
): Promise<Bell[]> {
  const hungry = [...accounts.values()].flatMap((account) => {
    const free = unheard || account.lineWaiting > 0 ? freeSlots(ctx, account) : 0;
    return free > 0 ? [{ accountId: account.id, free }] : [];
  });
  if (hungry.length === 0) return [];
  const all = { moved: [] as Bell[], given: [] as Bell[] };
  for (const [accountId, next] of Map.groupBy(await nextInLine(tx, hungry), (next) => next.accountId)) {
    const account = accounts.get(accountId);
    if (!account) continue;
    const { busy, moved, given } = giveFree(account.busySlots, slotsOf(ctx, account), next);
    account.busySlots = busy;
    account.lineWaiting -= given.length;
    all.moved.push(...moved.map((bell) => ({ ...bell, repeat: 'moved' as const })));
    all.given.push(...given);
  }
  moveSlots(tx, all.moved, now);
  giveSlots(tx, all.given, now);
  return [...all.moved, ...all.given];
}

/** How many slots it may give away: none if the account may not run. */
export function freeSlots(ctx: Context, account: Account): number {
  const open = account.status === 'active' || account.status === 'restricted';
  return open ? Math.max(0, slotsOf(ctx, account) - countBusy(account.busySlots)) : 0;
}

function slotsOf(ctx: Context, account: Account): number {
  const plan = ctx.catalogue().plans.get(account.planId);
  return plan ? termsFor(plan, account.overrides).slots : 0;
}
