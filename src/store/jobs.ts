import type { Db, Tx } from '../db/pool.ts';
import { inserter, rowset } from '../db/rowset.ts';
import type { Bell, FinalStatus, Kind } from '../domain/job.ts';
import type { EventJob, Job } from '../domain/job-view.ts';

export const JOB_COLUMNS = `id, account_id as "accountId", key_id as "keyId", livemode, kind, model, status, version, epoch, priority, slot,
  due_at as "dueAt", metadata as "metadataJson", bounds as "boundsJson", input as "inputJson", input_key as "inputKey",
  output as "outputJson", error as "errorJson", usage as "usageJson", hold, cost, price_id as "priceId", deadline,
  cancel_requested_at as "cancelRequestedAt", canceled_by as "canceledBy", created_at as "createdAt",
  started_at as "startedAt", ended_at as "endedAt", data_deleted_at as "dataDeletedAt", client_request_id as "clientRequestId"`;

// ---------------------------------------------------------------- admission

/** A job as admission writes it: always queued. */
export interface NewJob extends Job {
  routeId: string;
  sequence: bigint;
  deadlineNamed: boolean;
  endUser: string | null;
  idempotencyKey: string | null;
}

const newJobs = inserter<NewJob>('jobs', {
  account_id: ['text', (j) => j.accountId],
  id: ['text', (j) => j.id],
  key_id: ['text', (j) => j.keyId],
  livemode: ['boolean', (j) => j.livemode],
  kind: ['text', (j) => j.kind],
  model: ['text', (j) => j.model],
  route_id: ['text', (j) => j.routeId],
  status: ['text', (j) => j.status],
  slot: ['integer', (j) => j.slot],
  priority: ['smallint', (j) => j.priority],
  sequence: ['bigint', (j) => j.sequence],
  place: ['bigint', (j) => (j.slot === null ? j.sequence : null)],
  rung_at: ['timestamptz', (j) => (j.slot === null ? null : j.createdAt)],
  deadline: ['timestamptz', (j) => j.deadline],
  deadline_named: ['boolean', (j) => j.deadlineNamed],
  hold: ['bigint', (j) => j.hold],
  price_id: ['text', (j) => j.priceId],
  bounds: ['text', (j) => j.boundsJson],
  metadata: ['text', (j) => j.metadataJson],
  end_user: ['text', (j) => j.endUser],
  client_request_id: ['text', (j) => j.clientRequestId],
  idempotency_key: ['text', (j) => j.idempotencyKey],
  input: ['text', (j) => j.inputJson],
  input_key: ['text', (j) => j.inputKey],
  created_at: ['timestamptz', (j) => j.createdAt],
});

export function insertJobs(tx: Tx, jobs: readonly NewJob[]): void {
  tx.send({ name: 'insert-jobs', text: newJobs.text, values: newJobs.values(jobs) });
}

const pairs = rowset<{ accountId: string; jobId: string }>({
  account_id: ['text', (p) => p.accountId],
  id: ['text', (p) => p.jobId],
});

/** Whole jobs by account and id, whatever their state. */
export async function findJobs(
  db: Db,
  wanted: readonly { accountId: string; jobId: string }[],
): Promise<Map<string, Job>> {
  if (wanted.length === 0) return new Map();
  const { rows } = await db.query<Job>({
    name: 'find-jobs',
    text: `select ${JOB_COLUMNS} from jobs where (account_id, id) in (select account_id, id from ${pairs.sql})`,
    values: pairs.values(wanted),
  });
  return new Map(rows.map((job) => [job.id, job]));
}

/** An account's jobs that have not ended, newest first. By two indexes that hold only such; by id would pass all that ended. */
export async function openJobs(db: Db, accountId: string, limit: number): Promise<EventJob[]> {
  const { rows } = await db.query<EventJob>({
    name: 'open-jobs',
    text: `with open as materialized (
        select * from jobs where account_id = $1 and slot is not null
        union all select * from jobs where account_id = $1 and place is not null)
      select id, kind, model, status, version, metadata as "metadataJson", output as "outputJson", error as "errorJson", cost,
        created_at as "createdAt", ended_at as "endedAt"
      from open order by id desc limit $2`,
    values: [accountId, limit],
  });
  return rows;
}

// ---------------------------------------------------------------- claim

/** A job in a worker's hands. */
export interface Claimed {
  accountId: string;
  jobId: string;
  epoch: number;
  /** The name it was claimed under, which may have lapsed since. */
  workerId: string;
  slot: number;
  kind: Kind;
  model: string;
  routeId: string;
  livemode: boolean;
  boundsJson: string;
  inputJson: string | null;
  inputKey: string | null;
  /** Until its deadline, by the database's clock. */
  remainingMs: number;
  cancelRequested: boolean;
  /** Attempts whose end is not known, the latest first: the vendor is asked after each before it is called again. */
  earlier: { attempt: number; remoteId: string | null; routeId: string }[];
}

/** What a message names. */
export type Rung = Pick<Bell, 'accountId' | 'jobId' | 'epoch'>;

const rings = rowset<Rung>(
  {
    account_id: ['text', (b) => b.accountId],
    id: ['text', (b) => b.jobId],
    epoch: ['integer', (b) => b.epoch],
  },
  2,
);

/**
 * Claims jobs for a worker and writes down the attempts that will follow, in one statement that never touches accounts.
 * A bell is void, and missing from the answer, if its job is not waiting with a slot at that epoch, if its deadline has
 * passed, or if the worker's own lease has lapsed.
 */
export async function claimJobs(db: Db, workerId: string, rung: readonly Rung[]): Promise<Claimed[]> {
  const { rows } = await db.query<Claimed>({
    name: 'claim-jobs',
    text: `with clock as materialized (select millrace_now() as now),
      claimed as (
        update jobs j set status = 'running', version = j.version + 1, epoch = j.epoch + 1, worker_id = $1,
          rings = 0, started_at = coalesce(j.started_at, (select now from clock))
        from ${rings.sql} where j.account_id = r.account_id and j.id = r.id and j.epoch = r.epoch
          and j.status = 'queued' and j.slot is not null and j.deadline > (select now from clock)
          and exists (select from workers w where w.id = $1 and w.lease_until > (select now from clock))
        returning j.*),
      written as (
        insert into attempts (account_id, job_id, attempt, worker_id, route_id, slot, started_at)
        select account_id, id, epoch, $1, route_id, slot, (select now from clock) from claimed)
      select c.account_id as "accountId", c.id as "jobId", c.epoch, c.worker_id as "workerId", c.slot, c.kind, c.model, c.route_id as "routeId",
        c.livemode, c.bounds as "boundsJson", c.input as "inputJson", c.input_key as "inputKey",
        (extract(epoch from c.deadline - (select now from clock)) * 1000)::float8 as "remainingMs",
        c.cancel_requested_at is not null as "cancelRequested",
        case when c.epoch > 1 then (
          select coalesce(json_agg(json_build_object('attempt', a.attempt, 'remoteId', a.remote_id, 'routeId', a.route_id) order by a.attempt desc), '[]')
          from attempts a where a.account_id = c.account_id and a.job_id = c.id and a.attempt < c.epoch
            and a.outcome in ('interrupted', 'ambiguous')) else '[]' end as earlier
      from claimed c`,
    values: [workerId, ...rings.values(rung)],
  });
  return rows;
}

// ---------------------------------------------------------------- settle

/** A job's row under its lock, with what decides its end. */
export interface OpenJob extends Job {
  routeId: string;
  failures: number;
  interruptions: number;
  ambiguous: number;
  sequence: bigint;
  deadlineNamed: boolean;
  workerId: string | null;
}

const OPEN_COLUMNS = `${JOB_COLUMNS}, route_id as "routeId", failures, interruptions, ambiguous, sequence,
  deadline_named as "deadlineNamed", worker_id as "workerId"`;

const fences = rowset<{ accountId: string; jobId: string; epoch: number }>({
  account_id: ['text', (f) => f.accountId],
  id: ['text', (f) => f.jobId],
  epoch: ['integer', (f) => f.epoch],
});

/**
 * The jobs that still run at the given epoch; who comes too late finds none. Without a lock of their own: all who change
 * a running job hold its account's lock.
 */
export async function findRunning(
  tx: Db,
  wanted: readonly { accountId: string; jobId: string; epoch: number }[],
): Promise<Map<string, OpenJob>> {
  const { rows } = await tx.query<OpenJob>({
    name: 'find-running',
    text: `select ${OPEN_COLUMNS} from jobs where status = 'running'
      and (account_id, id, epoch) in (select account_id, id, epoch from ${fences.sql})`,
    values: fences.values(wanted),
  });
  return new Map(rows.map((job) => [job.id, job]));
}

/** Locks jobs that have not ended, whatever they wait for. */
export async function lockOpen(
  tx: Db,
  wanted: readonly { accountId: string; jobId: string }[],
): Promise<Map<string, OpenJob>> {
  const { rows } = await tx.query<OpenJob>({
    name: 'lock-open',
    text: `select ${OPEN_COLUMNS} from jobs where status in ('queued', 'running')
      and (account_id, id) in (select account_id, id from ${pairs.sql}) order by id for no key update`,
    values: pairs.values(wanted),
  });
  return new Map(rows.map((job) => [job.id, job]));
}

export interface EndedJob {
  accountId: string;
  id: string;
  status: FinalStatus;
  cost: bigint;
  outputJson: string | null;
  usageJson: string | null;
  errorJson: string | null;
  canceledBy: string | null;
}

const ended = rowset<EndedJob>(
  {
    account_id: ['text', (j) => j.accountId],
    id: ['text', (j) => j.id],
    status: ['text', (j) => j.status],
    cost: ['bigint', (j) => j.cost],
    output: ['text', (j) => j.outputJson],
    usage: ['text', (j) => j.usageJson],
    error: ['text', (j) => j.errorJson],
    canceled_by: ['text', (j) => j.canceledBy],
  },
  2,
);

/** Ends jobs that this transaction has locked open. */
export function endJobs(tx: Tx, jobs: readonly EndedJob[], at: Date): void {
  if (jobs.length === 0) return;
  tx.send({
    name: 'end-jobs',
    text: `update jobs j set status = r.status, version = j.version + 1, cost = r.cost, output = r.output, usage = r.usage,
        error = r.error, canceled_by = r.canceled_by, slot = null, place = null, due_at = null, worker_id = null, ended_at = $1
      from ${ended.sql} where j.account_id = r.account_id and j.id = r.id and j.status in ('queued', 'running')`,
    values: [at, ...ended.values(jobs)],
  });
}

export interface RequeuedJob {
  accountId: string;
  id: string;
  counts: 'failure' | 'interruption';
  ambiguous: boolean;
  /** Null: at once. */
  dueAt: Date | null;
  routeId: string;
}

const requeued = rowset<RequeuedJob>({
  account_id: ['text', (j) => j.accountId],
  id: ['text', (j) => j.id],
  failed: ['integer', (j) => (j.counts === 'failure' ? 1 : 0)],
  interrupted: ['integer', (j) => (j.counts === 'interruption' ? 1 : 0)],
  ambiguous: ['integer', (j) => (j.ambiguous ? 1 : 0)],
  due_at: ['timestamptz', (j) => j.dueAt],
  route_id: ['text', (j) => j.routeId],
});

/** Sends running jobs that this transaction has locked back to their place in the line, without their slot. */
export function requeueJobs(tx: Tx, jobs: readonly RequeuedJob[]): void {
  if (jobs.length === 0) return;
  tx.send({
    name: 'requeue-jobs',
    text: `update jobs j set status = 'queued', version = j.version + 1, slot = null, worker_id = null, place = j.sequence,
        due_at = r.due_at, failures = j.failures + r.failed, interruptions = j.interruptions + r.interrupted,
        ambiguous = j.ambiguous + r.ambiguous, route_id = r.route_id, rung_at = null, rings = 0
      from ${requeued.sql} where j.account_id = r.account_id and j.id = r.id and j.status = 'running'`,
    values: requeued.values(jobs),
  });
}

// ---------------------------------------------------------------- the line

/** A job that may have a free slot. */
export interface NextInLine {
  accountId: string;
  jobId: string;
  kind: Kind;
  epoch: number;
  /** The slot with which it has waited to be heard for a while already; null: it waits in the line. */
  slot: number | null;
}

const free = rowset<{ accountId: string; free: number }>({
  account_id: ['text', (f) => f.accountId],
  free: ['integer', (f) => f.free],
});

/**
 * For each account as many as it has free slots: of those that hold a slot and have not been heard for a second, and of
 * those in the line that are not in back-off; each in their order. Called under the accounts' locks. Who is just being
 * claimed is left out.
 */
export async function nextInLine(
  tx: Db,
  wanted: readonly { accountId: string; free: number }[],
): Promise<NextInLine[]> {
  const { rows } = await tx.query<NextInLine>({
    name: 'next-in-line',
    text: `with clock as materialized (select millrace_now() as now),
      unheard as materialized (
        select j.account_id, j.id, j.kind, j.epoch, j.slot from ${free.sql} cross join clock cross join lateral (
          select * from jobs j where j.account_id = r.account_id and j.slot is not null and j.status = 'queued'
            and j.rung_at < clock.now - interval '1 second'
          order by j.priority, j.sequence limit r.free for no key update skip locked) j),
      line as (
        select j.account_id, j.id, j.kind, j.epoch, null::integer from ${free.sql} cross join clock cross join lateral (
          select * from jobs j where j.account_id = r.account_id and j.place is not null and j.due_at is null
            and j.deadline > clock.now
          order by j.priority, j.place limit r.free) j)
      select account_id as "accountId", id as "jobId", kind, epoch, slot from (table unheard union all table line) next`,
    values: free.values(wanted),
  });
  return rows;
}

const given = rowset<Bell>(
  {
    account_id: ['text', (b) => b.accountId],
    id: ['text', (b) => b.jobId],
    slot: ['integer', (b) => b.slot],
  },
  2,
);

export function giveSlots(tx: Tx, bells: readonly Bell[], at: Date): void {
  if (bells.length === 0) return;
  tx.send({
    name: 'give-slots',
    text: `update jobs j set slot = r.slot, place = null, due_at = null, rung_at = $1, rings = 0
      from ${given.sql} where j.account_id = r.account_id and j.id = r.id and j.place is not null`,
    values: [at, ...given.values(bells)],
  });
}

/** Gives jobs that this transaction has locked, and that hold a slot unheard, a lower one that is free. */
export function moveSlots(tx: Tx, bells: readonly Bell[], at: Date): void {
  if (bells.length === 0) return;
  tx.send({
    name: 'move-slots',
    text: `update jobs j set slot = r.slot, rung_at = $1
      from ${given.sql} where j.account_id = r.account_id and j.id = r.id and j.status = 'queued' and j.slot is not null`,
    values: [at, ...given.values(bells)],
  });
}

/** How many of the account's own jobs start before this one; counted from the line's index, exact to 1,000. */
export async function positionInLine(db: Db, job: { accountId: string; jobId: string }): Promise<number> {
  const { rows } = await db.query<{ ahead: number }>({
    name: 'position-in-line',
    text: `select count(*)::int as ahead from (
        select 1 from jobs me join jobs j on j.account_id = me.account_id and j.place is not null
          and (j.priority, j.place) < (me.priority, me.place)
        where me.account_id = $1 and me.id = $2 and me.place is not null limit 1000) as before`,
    values: [job.accountId, job.jobId],
  });
  return rows[0]?.ahead ?? 0;
}

/** How many waiting jobs would start before one that came now with that priority; counted to 1,000. */
export async function countAhead(
  db: Db,
  { accountId, priority }: { accountId: string; priority: number },
): Promise<number> {
  const { rows } = await db.query<{ ahead: number }>({
    name: 'count-ahead',
    text: `select count(*)::int as ahead from (
        select 1 from jobs where account_id = $1 and place is not null and priority <= $2 limit 1000) as before`,
    values: [accountId, priority],
  });
  return rows[0]?.ahead ?? 0;
}

// ---------------------------------------------------------------- cancel

/** Asks running jobs to stop; the worker that holds them, or the sweep after it, ends them. */
export async function requestCancel(
  tx: Db,
  job: { accountId: string; jobId: string; by: string; at: Date },
): Promise<void> {
  await tx.query(
    `update jobs set cancel_requested_at = $3, canceled_by = $4
      where account_id = $1 and id = $2 and status = 'running' and cancel_requested_at is null`,
    [job.accountId, job.jobId, job.at, job.by],
  );
}

/** A job that runs under a worker's name. */
export interface Held {
  accountId: string;
  jobId: string;
  epoch: number;
  /** How long it has been running, by the database's clock. */
  runningMs: number;
  stopAsked: boolean;
}

/** What the database thinks a worker is doing. Found in the index of slots, which holds just what is open. */
export async function heldBy(db: Db, workerId: string): Promise<Held[]> {
  const { rows } = await db.query<Held>({
    name: 'held-by',
    text: `select j.account_id as "accountId", j.id as "jobId", j.epoch, j.cancel_requested_at is not null as "stopAsked",
        (extract(epoch from (select millrace_now()) - a.started_at) * 1000)::float8 as "runningMs"
      from jobs j join attempts a on a.account_id = j.account_id and a.job_id = j.id and a.attempt = j.epoch
      where j.slot is not null and j.status = 'running' and j.worker_id = $1`,
    values: [workerId],
  });
  return rows;
}
