// What a list of requests comes to, decided in memory under the accounts' locks and then written as lists.
import type { Tx } from '../db/pool.ts';
import { type Admission, admitOne, type Applicant, type Books } from '../domain/admission.ts';
import { AppError } from '../domain/errors.ts';
import { newId } from '../domain/ids.ts';
import type { Kind } from '../domain/job.ts';
import { type Job, renderJobEvent } from '../domain/job-view.ts';
import { writePostings } from '../ledger/post.ts';
import { type Posting, postHold } from '../ledger/posting.ts';
import { type Account, writeAccounts } from '../store/accounts.ts';
import { ensureForJobs } from '../store/endpoints.ts';
import { appendEvents, type Event } from '../store/events.ts';
import { type KnownRequest, rememberRequests, requestId } from '../store/idempotency.ts';
import { insertJobs, type NewJob } from '../store/jobs.ts';

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
  webhook: string | null;
  idempotency: { key: string; hash: Buffer } | null;
}

/** Requests decided together: of an atomic unit all are admitted, or none. */
export interface Unit {
  requests: Request[];
  atomic: boolean;
}

export interface Draft {
  accounts: Map<string, Account>;
  books: Map<string, Books>;
  known: Map<string, KnownRequest>;
  /** Our own jobs, if an earlier try of this list was committed after all. */
  existing: Map<string, Job>;
  now: Date;
  publicUrl: string;
  jobs: NewJob[];
  postings: Posting[];
  events: Event[];
  remembered: KnownRequest[];
  /** For an account's endpoint for single jobs' webhooks, should it have none yet: a sealed secret. */
  newSecret(endpointId: string): Buffer;
  /** Known after the commit: whether any of the events has somewhere to be delivered. */
  toDeliver: Promise<boolean>;
}

/** `replayOf`: an earlier request with that key made this job. */
export type Decision = { job: Job } | { replayOf: string } | { refusal: AppError };

/** Of an atomic unit all are entered, or none. */
export function decideUnit(draft: Draft, unit: Unit): Decision[] {
  if (!unit.atomic) return unit.requests.map((request) => decide(draft, request));
  const before = snapshot(draft);
  const answers = unit.requests.map((request) => decide(draft, request));
  if (answers.some((answer) => 'refusal' in answer)) restore(draft, before);
  return answers;
}

function decide(draft: Draft, request: Request): Decision {
  const { accountId, jobId, idempotency } = request;
  const twin = idempotency && draft.known.get(requestId({ accountId, key: idempotency.key }));
  if (twin && twin.jobId !== jobId) return replay(request, twin);
  const mine = draft.existing.get(jobId);
  if (mine) return { job: mine };
  const account = draft.accounts.get(accountId);
  const books = draft.books.get(accountId);
  if (!account || !books) return { refusal: new AppError('api_key_invalid') };
  try {
    const { admission, books: after } = admitOne(books, request, draft.now);
    draft.books.set(accountId, after);
    return { job: enter(draft, { request, account, ...admission }) };
  } catch (error) {
    if (error instanceof AppError) return { refusal: error };
    throw error;
  }
}

function replay({ idempotency }: Request, { hash, jobId }: KnownRequest): Decision {
  if (idempotency?.hash.equals(hash)) return { replayOf: jobId };
  return { refusal: new AppError('idempotency_key_reused', { details: { job_id: jobId } }) };
}

interface Entry extends Admission {
  request: Request;
  account: Account;
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

/** Writes down what was entered. */
export function writeDraft(tx: Tx, draft: Draft): void {
  if (draft.jobs.length === 0) return;
  for (const [id, { busySlots, lineWaiting }] of draft.books)
    Object.assign(draft.accounts.get(id) ?? {}, { busySlots, lineWaiting });
  const touched = new Set(draft.jobs.map((job) => job.accountId));
  writeAccounts(
    tx,
    [...draft.accounts.values()].filter((account) => touched.has(account.id)),
  );
  insertJobs(tx, draft.jobs);
  writePostings(tx, draft.postings, draft.now);
  const withWebhook = new Set(draft.jobs.filter((job) => job.webhook !== null).map((job) => job.accountId));
  if (withWebhook.size > 0)
    ensureForJobs(
      tx,
      [...withWebhook].map((accountId) => {
        const id = newId('whe');
        return { id, accountId, secret: draft.newSecret(id) };
      }),
    );
  draft.toDeliver = appendEvents(tx, draft.events, draft.now);
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
