// Jobs that have not ended, under their locks, and the two ways out of running: an end, or back to the line.
import type { Db, Tx } from '../db/pool.ts';
import { rowset } from '../db/rowset.ts';
import type { FinalStatus, Kind } from '../domain/job.ts';
import type { Job } from '../domain/job-view.ts';
import { JOB_COLUMNS, namedJobs } from './jobs.ts';

/** A job's row under its lock, with what decides its end. */
export interface OpenJob extends Job {
  routeId: string;
  failures: number;
  interruptions: number;
  ambiguous: number;
  sequence: bigint;
  deadlineNamed: boolean;
  workerId: string | null;
  /** As its bounds say. */
  chargeRefused: boolean;
}

const OPEN_COLUMNS = `${JOB_COLUMNS}, route_id as "routeId", failures, interruptions, ambiguous, sequence,
  deadline_named as "deadlineNamed", worker_id as "workerId", strpos(bounds, '"charge_refused":true') > 0 as "chargeRefused"`;

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
      and (account_id, id) in (select account_id, id from ${namedJobs.sql}) order by id for no key update`,
    values: namedJobs.values(wanted),
  });
  return new Map(rows.map((job) => [job.id, job]));
}

export interface EndedJob {
  accountId: string;
  id: string;
  /** Of its row already; for who counts. */
  kind: Kind;
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
