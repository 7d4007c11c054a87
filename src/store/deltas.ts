import type { Db } from '../db/pool.ts';
import { rowset } from '../db/rowset.ts';

/** A run of deltas: `deltasJson` is a JSON array of `count` of them, the first of which is number `first`. */
export interface DeltaRun {
  first: number;
  count: number;
  deltasJson: string;
}

/** A run of one attempt's. */
export interface DeltaStep extends DeltaRun {
  accountId: string;
  jobId: string;
  attempt: number;
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
 * answer lost) is left alone: its time is the job's start, the same at every try, so that it meets itself in the key.
 */
export async function appendDeltas(db: Db, list: readonly DeltaStep[]): Promise<void> {
  await db.query({
    name: 'append-deltas',
    text: `with live as (
        select j.account_id, j.id, j.epoch, j.started_at from jobs j where status = 'running'
          and (account_id, id, epoch) in (select account_id, job_id, attempt from ${steps.sql}) order by id for share)
      insert into deltas (account_id, job_id, attempt, first, count, deltas, created_at)
      select r.account_id, r.job_id, r.attempt, r.first, r.count, r.deltas, live.started_at
      from ${steps.sql} join live on live.account_id = r.account_id and live.id = r.job_id and live.epoch = r.attempt
      on conflict do nothing`,
    values: steps.values(list),
  });
}

/** All that an attempt has said. */
export async function deltasOf(
  db: Db,
  attempt: { accountId: string; jobId: string; attempt: number },
): Promise<DeltaRun[]> {
  const { rows } = await db.query<DeltaRun>({
    name: 'deltas-of',
    text: `select first, count, deltas as "deltasJson" from deltas
      where account_id = $1 and job_id = $2 and attempt = $3 order by first`,
    values: [attempt.accountId, attempt.jobId, attempt.attempt],
  });
  return rows;
}
