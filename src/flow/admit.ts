// Admission: a list of requests becomes jobs in one transaction, each decided against what those before it left.
import type { Context } from '../context.ts';
import { crashPoint } from '../crash.ts';
import { groupCommit } from '../db/group-commit.ts';
import type { Tx } from '../db/pool.ts';
import { isConnectionError, LIST_LOCK_MS, persistently, readAs, transaction } from '../db/transaction.ts';
import type { Books } from '../domain/admission.ts';
import { AppError } from '../domain/errors.ts';
import type { Bell } from '../domain/job.ts';
import type { Job } from '../domain/job-view.ts';
import { termsFor } from '../domain/plan.ts';
import { newSecret } from '../domain/webhook.ts';
import { type Lot, openLots } from '../ledger/lots.ts';
import { type Account, lockAccounts } from '../store/accounts.ts';
import { knownRequests } from '../store/idempotency.ts';
import { findJobs } from '../store/jobs.ts';
import {
  decideUnit,
  type Decision,
  type Draft,
  type Request,
  type Unit,
  writeDraft,
} from './admission-draft.ts';
import type { Announcer } from './announce.ts';
import { sealSecret } from './endpoint-secret.ts';

export type { Request, Unit };

export type Answer =
  /** `replayed`: an earlier request with that key made the job, which is shown as it is now. */
  { job: Job; replayed: boolean } | { refusal: AppError };

const LIST_MAX = 200;
/** How long a submission is tried again while the database is away. */
const PATIENCE_MS = 12_000;
/** More than so many before it, and a submission is refused at once. */
const WAITING_MAX = 20_000;

export type Admit = (unit: Unit) => Promise<Answer[]>;

export function openAdmission(ctx: Context, announcer: Announcer): Admit {
  // Units that were sent before, and may be there already: a commit whose answer was lost may have been one.
  const sent = new WeakSet<Unit>();
  const admit = groupCommit((units: Unit[], forMs) => admitList(ctx, announcer, { units, forMs, sent }), {
    max: LIST_MAX,
    // Two lists would mostly wait for each other's accounts, each half as long.
    inFlight: 1,
    weight: (unit) => unit.requests.length,
    lane: (unit) => unit.requests[0]?.accountId ?? '',
    patienceMs: PATIENCE_MS,
    refuse: { most: WAITING_MAX, with: () => new AppError('overloaded') },
  });
  return async (unit) => answer(ctx, unit, await admit(unit));
}

async function admitList(
  ctx: Context,
  announcer: Announcer,
  { units, forMs, sent }: { units: Unit[]; forMs: number; sent: WeakSet<Unit> },
): Promise<Decision[][]> {
  const attempt = (): Promise<Admitted> => {
    const repeated = units.some((unit) => sent.has(unit));
    for (const unit of units) sent.add(unit);
    return transaction(ctx.flow, (tx) => admitIn(tx, ctx, { units, repeated }), { lockMs: LIST_LOCK_MS });
  };
  const { decisions, toDeliver } = await persistently(attempt, { forMs, on: isConnectionError });
  crashPoint('admit-after-commit');
  // Also those of an earlier try whose answer was lost: nobody else has rung for them.
  const admitted = decisions.flat().flatMap((decision) => ('job' in decision ? [decision.job] : []));
  announcer.ring(admitted.flatMap(bellOf));
  announcer.deliver(toDeliver);
  announcer.wake(admitted.map(({ accountId, id }) => ({ type: 'job', accountId, jobId: id })));
  return decisions;
}

interface Admitted {
  decisions: Decision[][];
  toDeliver: Promise<boolean>;
}

function bellOf({ kind, accountId, id, epoch, slot, status }: Job): Bell[] {
  return slot === null || status !== 'queued' ? [] : [{ kind, accountId, jobId: id, epoch, slot }];
}

async function admitIn(
  tx: Tx,
  ctx: Context,
  { units, repeated }: { units: Unit[]; repeated: boolean },
): Promise<Admitted> {
  const requests = units.flatMap((unit) => unit.requests);
  const accountIds = [...new Set(requests.map((request) => request.accountId))];
  // Asked together, done in this order: what is read is read under the locks.
  const [accounts, { now, lots }, known, existing] = await Promise.all([
    lockAccounts(tx, accountIds),
    openLots(tx, accountIds),
    knownRequests(tx, keysOf(requests)),
    findJobs(tx, repeated ? requests : []),
  ]);
  const books = [...accounts.values()].map((account) => booksOf(ctx, account, lots.get(account.id) ?? []));
  const draft: Draft = {
    accounts,
    books: new Map(books.map((book) => [book.id, book])),
    known,
    existing,
    now,
    publicUrl: ctx.publicUrl(),
    jobs: [],
    postings: [],
    events: [],
    remembered: [],
    newSecret: (endpointId) => sealSecret(ctx, endpointId, newSecret()),
    toDeliver: Promise.resolve(false),
  };
  const decisions = units.map((unit) => decideUnit(draft, unit));
  writeDraft(tx, draft);
  crashPoint('admit-before-commit');
  return { decisions, toDeliver: draft.toDeliver };
}

/**
 * Jobs of repeated requests are read as they are now, by each who asks and as that account: they may be many and long, and the
 * next list waits for nobody's.
 */
async function answer(ctx: Context, unit: Unit, decisions: readonly Decision[]): Promise<Answer[]> {
  const accountId = unit.requests[0]?.accountId ?? '';
  const wanted = decisions.flatMap((decision) =>
    'replayOf' in decision ? [{ accountId, jobId: decision.replayOf }] : [],
  );
  if (wanted.length === 0) return decisions.map((decision) => answerOf(decision, null));
  // Nothing may be thrown any more: what was admitted is admitted, whatever becomes of the replays.
  const jobs = await persistently(() => readAs(ctx.client, accountId, (tx) => findJobs(tx, wanted)), {
    forMs: PATIENCE_MS,
  }).catch(() => null);
  return decisions.map((decision) => answerOf(decision, jobs));
}

function answerOf(decision: Decision, jobs: Map<string, Job> | null): Answer {
  if ('refusal' in decision) return decision;
  if ('job' in decision) return { job: decision.job, replayed: false };
  const job = jobs?.get(decision.replayOf);
  if (job) return { job, replayed: true };
  const cause = new Error(`the job ${decision.replayOf} of an idempotency key could not be read`);
  return { refusal: new AppError(jobs ? 'internal' : 'overloaded', { cause }) };
}

function keysOf(requests: readonly Request[]): { accountId: string; key: string }[] {
  return requests.flatMap(({ accountId, idempotency }) =>
    idempotency ? [{ accountId, key: idempotency.key }] : [],
  );
}

export function booksOf(ctx: Context, account: Account, lots: readonly Lot[]): Books {
  const plan = ctx.catalogue().plans.get(account.planId);
  if (!plan)
    throw new Error(`the account ${account.id} has the plan ${account.planId}, which does not exist`);
  const { slots, lineLength } = termsFor(plan, account.overrides);
  return { ...account, lots, slots, lineLength, supportUrl: ctx.config.supportUrl };
}
