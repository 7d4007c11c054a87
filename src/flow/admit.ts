// Admission: a list of requests becomes jobs in one transaction, each decided against what those before it left.
import type { Context } from '../context.ts';
import { crashPoint } from '../crash.ts';
import { groupCommit } from '../db/group-commit.ts';
import type { Tx } from '../db/pool.ts';
import { persistently, transaction } from '../db/transaction.ts';
import { admitOne, type Applicant, type Books } from '../domain/admission.ts';
import { AppError } from '../domain/errors.ts';
import { newId } from '../domain/ids.ts';
import type { Bell, Kind } from '../domain/job.ts';
import { type Job, renderJobEvent } from '../domain/job-view.ts';
import { termsFor } from '../domain/plan.ts';
import { type Lot, openLots } from '../ledger/lots.ts';
import { writePostings } from '../ledger/post.ts';
import { type Posting, postHold } from '../ledger/posting.ts';
import { type Account, lockAccounts, writeAccounts } from '../store/accounts.ts';
import { appendEvents, type Event } from '../store/events.ts';
import { type KnownRequest, knownRequests, rememberRequests, requestId } from '../store/idempotency.ts';
import { findJobs, insertJobs, type NewJob } from '../store/jobs.ts';
import type { Announcer } from './announce.ts';

/** One job asked for: validated, bounded and priced, with the id it will have. */
export interface Request extends Applicant {
  accountId: string;
  keyId: string;
  livemode: boolean;
  kind: Kind;
  model: string;
  routeId: string;
  priceId: string;
  priority: number;
  deadlineNamed: boolean;
  boundsJson: string;
  metadataJson: string;
  inputJson: string | null;
  inputKey: string | null;
  endUser: string | null;
  clientRequestId: string | null;
  idempotency: { key: string; hash: Buffer } | null;
}

/** Requests decided together: of an atomic unit all are admitted, or none. */
export interface Unit {
  requests: Request[];
  atomic: boolean;
}

export type Answer =
  /** `replayed`: an earlier request with that key made the job, which is shown as it is now. */
  { job: Job; replayed: boolean } | { refusal: AppError };

const LIST_MAX = 200;
/** How long a submission is tried again while the database is away. */
const PATIENCE_MS = 12_000;

export type Admit = (unit: Unit) => Promise<Answer[]>;

export function openAdmission(ctx: Context, announcer: Announcer): Admit {
  return groupCommit((units: Unit[]) => admitList(ctx, announcer, units), {
    max: LIST_MAX,
    inFlight: 2,
    weight: (unit) => unit.requests.length,
    lane: (unit) => unit.requests[0]?.accountId ?? '',
  });
}

async function admitList(ctx: Context, announcer: Announcer, units: Unit[]): Promise<Answer[][]> {
  let tries = 0;
  const { answers, admitted } = await persistently(
    () => transaction(ctx.flow, (tx) => admitIn(tx, ctx, { units, repeated: tries++ > 0 })),
    { forMs: PATIENCE_MS },
  );
  crashPoint('admit-after-commit');
  announcer.ring(admitted.flatMap((job) => (job.slot === null ? [] : [bellOf(job, job.slot)])));
  announcer.wake(admitted.map(({ accountId, id }) => ({ type: 'job', accountId, jobId: id })));
  return answers;
}

function bellOf({ kind, accountId, id, epoch }: NewJob, slot: number): Bell {
  return { kind, accountId, jobId: id, epoch, slot };
}

interface Draft {
  accounts: Map<string, Account>;
  books: Map<string, Books>;
  known: Map<string, KnownRequest>;
  /** Jobs that exist: those of known requests, and our own if an earlier try of this list was committed after all. */
  existing: Map<string, Job>;
  now: Date;
  publicUrl: string;
  jobs: NewJob[];
  postings: Posting[];
  events: Event[];
  remembered: KnownRequest[];
}

async function admitIn(
  tx: Tx,
  ctx: Context,
  { units, repeated }: { units: Unit[]; repeated: boolean },
): Promise<{ answers: Answer[][]; admitted: NewJob[] }> {
  const requests = units.flatMap((unit) => unit.requests);
  const accountIds = [...new Set(requests.map((request) => request.accountId))];
  // Asked together, done in this order: what is read is read under the locks.
  const [accounts, { now, lots }, known] = await Promise.all([
    lockAccounts(tx, accountIds),
    openLots(tx, accountIds),
    knownRequests(tx, keysOf(requests)),
  ]);
  const existing = await findJobs(tx, [...known.values(), ...(repeated ? requests : [])]);
  const draft: Draft = {
    accounts,
    books: new Map(
      [...accounts.values()].map((account) => [
        account.id,
        booksOf(ctx, account, lots.get(account.id) ?? []),
      ]),
    ),
    known,
    existing,
    now,
    publicUrl: ctx.publicUrl(),
    jobs: [],
    postings: [],
    events: [],
    remembered: [],
  };
  const answers = units.map((unit) => decideUnit(draft, unit));
  if (draft.jobs.length > 0) write(tx, draft);
  crashPoint('admit-before-commit');
  return { answers, admitted: draft.jobs };
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
  return { ...account, lots, slots, lineLength };
}

function decideUnit(draft: Draft, unit: Unit): Answer[] {
  if (!unit.atomic) return unit.requests.map((request) => decide(draft, request));
  const before = snapshot(draft);
  const answers = unit.requests.map((request) => decide(draft, request));
  if (answers.some((answer) => 'refusal' in answer)) restore(draft, before);
  return answers;
}

function decide(draft: Draft, request: Request): Answer {
  const { accountId, jobId, idempotency } = request;
  const twin = idempotency && draft.known.get(requestId({ accountId, key: idempotency.key }));
  if (twin && twin.jobId !== jobId) return replay(draft, request, twin);
  const mine = draft.existing.get(jobId);
  if (mine) return { job: mine, replayed: false };
  const account = draft.accounts.get(accountId);
  const books = draft.books.get(accountId);
  if (!account || !books) return { refusal: new AppError('api_key_invalid') };
  try {
    const { admission, books: after } = admitOne(books, request, draft.now);
    draft.books.set(accountId, after);
    return {
      job: enter(draft, {
        request,
        account,
        slot: admission.slot,
        deadline: admission.deadline,
        takes: admission.takes,
      }),
      replayed: false,
    };
  } catch (error) {
    if (error instanceof AppError) return { refusal: error };
    throw error;
  }
}

function replay(draft: Draft, { idempotency }: Request, twin: KnownRequest): Answer {
  if (!idempotency?.hash.equals(twin.hash)) {
    return { refusal: new AppError('idempotency_key_reused', { details: { job_id: twin.jobId } }) };
  }
  const job = draft.existing.get(twin.jobId) ?? draft.jobs.find(({ id }) => id === twin.jobId);
  if (!job) throw new Error(`the job ${twin.jobId} of an idempotency key is gone`);
  return { job, replayed: true };
}

interface Entry {
  request: Request;
  account: Account;
  slot: number | null;
  deadline: Date;
  takes: { lotId: string; amount: bigint }[];
}

/** Notes everything that one admitted job writes. */
function enter(draft: Draft, { request, account, slot, deadline, takes }: Entry): NewJob {
  const { now } = draft;
  account.eventSequence += 1n;
  const job: NewJob = {
    ...request,
    id: request.jobId,
    status: 'queued',
    version: 1,
    epoch: 0,
    slot,
    sequence: account.eventSequence,
    deadline,
    dueAt: null,
    outputJson: null,
    errorJson: null,
    usageJson: null,
    cost: null,
    cancelRequestedAt: null,
    canceledBy: null,
    createdAt: now,
    startedAt: null,
    endedAt: null,
    dataDeletedAt: null,
    idempotencyKey: request.idempotency?.key ?? null,
  };
  const event = { id: newId('ev'), type: 'job.queued', sequence: job.sequence, at: now };
  draft.jobs.push(job);
  draft.postings.push(postHold(account, job.id, takes));
  draft.events.push({
    ...event,
    accountId: account.id,
    jobId: job.id,
    body: renderJobEvent(event, job, draft.publicUrl),
  });
  if (request.idempotency) {
    const remembered: KnownRequest = { accountId: account.id, ...request.idempotency, jobId: job.id };
    draft.remembered.push(remembered);
    draft.known.set(requestId(remembered), remembered);
  }
  return job;
}

function write(tx: Tx, draft: Draft): void {
  for (const [id, { busySlots, lineWaiting }] of draft.books)
    Object.assign(draft.accounts.get(id) ?? {}, { busySlots, lineWaiting });
  const touched = new Set(draft.jobs.map((job) => job.accountId));
  writeAccounts(
    tx,
    [...draft.accounts.values()].filter((account) => touched.has(account.id)),
  );
  insertJobs(tx, draft.jobs);
  writePostings(tx, draft.postings, draft.now);
  appendEvents(tx, draft.events, draft.now);
  rememberRequests(tx, draft.remembered, draft.now);
}

function snapshot({ accounts, books, known, jobs, postings, events, remembered }: Draft) {
  return {
    accounts: new Map([...accounts].map(([id, account]) => [id, { ...account }])),
    books: new Map(books),
    known: new Map(known),
    jobs: [...jobs],
    postings: [...postings],
    events: [...events],
    remembered: [...remembered],
  };
}

function restore(draft: Draft, before: ReturnType<typeof snapshot>): void {
  Object.assign(draft, before);
}
