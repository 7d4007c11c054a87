// Jobs as their rows hold them: written by admission, found by id.
import type { Db, Tx } from '../db/pool.ts';
import { inserter, rowset } from '../db/rowset.ts';
import type { EventJob, Job } from '../domain/job-view.ts';

export const JOB_COLUMNS = `id, account_id as "accountId", key_id as "keyId", livemode, kind, model, status, version, epoch, priority, slot,
  due_at as "dueAt", metadata as "metadataJson", bounds as "boundsJson", input as "inputJson", input_key as "inputKey",
  output as "outputJson", error as "errorJson", usage as "usageJson", hold, cost, price_id as "priceId", deadline,
  cancel_requested_at as "cancelRequestedAt", canceled_by as "canceledBy", created_at as "createdAt",
  started_at as "startedAt", ended_at as "endedAt", data_deleted_at as "dataDeletedAt", client_request_id as "clientRequestId",
  webhook`;

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
  webhook: ['text', (j) => j.webhook],
  created_at: ['timestamptz', (j) => j.createdAt],
});

export function insertJobs(tx: Tx, jobs: readonly NewJob[]): void {
  tx.send({ name: 'insert-jobs', text: newJobs.text, values: newJobs.values(jobs) });
}

/** Jobs by account and id, for a FROM clause. */
export const namedJobs = rowset<{ accountId: string; jobId: string }>({
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
    text: `select ${JOB_COLUMNS} from jobs where (account_id, id) in (select account_id, id from ${namedJobs.sql})`,
    values: namedJobs.values(wanted),
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
