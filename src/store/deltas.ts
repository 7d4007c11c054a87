import type { Db } from '../db/pool.ts';
import { rowset } from '../db/rowset.ts';

/** A run of deltas of one attempt: `deltasJson` is a JSON array of `count` deltas, the first of which is number `first`. */
export interface DeltaStep {
  accountId: string;
  jobId: string;
  attempt: number;
  first: number;
  count: number;
  deltasJson: string;
}

const steps = rowset<DeltaStep>({
  account_id: ['text', (s) => s.accountId],
  job_id: ['text', (s) => s.jobId],
  attempt: ['integer', (s) => s.attempt],
  first: ['integer', (s) => s.first],
  count: ['integer', (s) => s.count],
  deltas: ['text', (s) => s.deltasJson],
});

/**
 * Appends steps of attempts that still run; a late worker's are dropped. The job's row is locked in share mode, so a
 * step is never written after its attempt's end. A step that is there already (its first try was committed and the
 * answer lost) is left alone.
 */
export async function appendDeltas(db: Db, list: readonly DeltaStep[]): Promise<void> {
  await db.query({
    name: 'append-deltas',
    text: `with live as (
        select j.account_id, j.id, j.epoch from jobs j where status = 'running'
          and (account_id, id, epoch) in (select account_id, job_id, attempt from ${steps.sql}) order by id for share)
      insert into deltas (account_id, job_id, attempt, first, count, deltas, created_at)
      select r.account_id, r.job_id, r.attempt, r.first, r.count, r.deltas, (select millrace_now())
      from ${steps.sql} join live on live.account_id = r.account_id and live.id = r.job_id and live.epoch = r.attempt
      where not exists (select from deltas d where d.account_id = r.account_id and d.job_id = r.job_id
        and d.attempt = r.attempt and d.first = r.first)`,
    values: steps.values(list),
  });
}

/** The steps of an attempt that hold a delta numbered `from` or higher. */
export async function deltasFrom(
  db: Db,
  query: { accountId: string; jobId: string; attempt: number; from: number },
): Promise<DeltaStep[]> {
  const { rows } = await db.query<DeltaStep>({
    name: 'deltas-from',
    text: `select account_id as "accountId", job_id as "jobId", attempt, first, count, deltas as "deltasJson" from deltas
      where account_id = $1 and job_id = $2 and attempt = $3 and first + count > $4 order by first`,
    values: [query.accountId, query.jobId, query.attempt, query.from],
  });
  return rows;
}
