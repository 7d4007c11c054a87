// Jobs, each with its entries and events. A job's row, its entries and its events are written in one transaction, so what
// one statement sees of it belongs together, and pages need no common snapshot.
import type { Db } from '../db/pool.ts';
import type { AuditedAccount } from './audit-books.ts';
import type { Breach } from './audit-findings.ts';
import { portions } from './audit-spans.ts';

export interface JobId {
  account_id: string;
  id: string;
}

const PAGE = 5_000;

/** Every job of accounts, page by page. */
export async function* allJobs(db: Db, books: readonly AuditedAccount[]): AsyncGenerator<JobId[]> {
  // Each job has at least one entry.
  for (const portion of portions(books, (book) => Number(book.ledgerSequence), PAGE)) {
    let wanted = portion.map(({ id }) => ({ account_id: id, id: '' }));
    while (wanted.length > 0) {
      const { rows } = await db.query<JobId>(
        `select w.account_id, j.id from unnest($1::text[], $2::text[]) as w (account_id, after)
          cross join lateral (select x.id from jobs x where x.account_id = w.account_id and x.id > w.after order by x.id limit $3) j`,
        [...columns(wanted), PAGE],
      );
      yield rows;
      const perAccount = Map.groupBy(rows, (row) => row.account_id);
      wanted = [...perAccount.values()].flatMap((page) => (page.length === PAGE ? page.slice(-1) : []));
    }
  }
}

/** Jobs that have not ended. As many as an account's line and slots at most. */
export async function* unendedJobs(db: Db, books: readonly AuditedAccount[]): AsyncGenerator<JobId[]> {
  for (const portion of portions(books, (book) => book.open, PAGE)) {
    const { rows } = await db.query<JobId>(
      'select account_id, id from jobs where account_id = any($1) and (slot is not null or place is not null)',
      [portion.map(({ id }) => id)],
    );
    for (let i = 0; i < rows.length; i += PAGE) yield rows.slice(i, i + PAGE);
  }
}

/** Judges jobs; ids that are no jobs are passed over, since the checks of entries and events name those. */
export async function auditJobs(db: Db, ids: readonly JobId[]): Promise<Breach[]> {
  if (ids.length === 0) return [];
  const [jobs, outputs] = await Promise.all([
    db.query<Breach>(JOBS, columns(ids)),
    db.query<Breach>(OUTPUTS, columns(ids)),
  ]);
  return [...jobs.rows, ...outputs.rows];
}

const columns = (ids: readonly JobId[]) => [ids.map((job) => job.account_id), ids.map((job) => job.id)];

/** `offset 0` keeps it a look at the primary key for each, whatever the planner thinks of the table. */
const WANTED = `unnest($1::text[], $2::text[]) as w (account_id, id)
  cross join lateral (select * from jobs x where x.account_id = w.account_id and x.id = w.id offset 0) j`;

/** The one failure that may cost something, where its bounds said so at admission, and then it says what was used. */
const REFUSED = `j.usage is not null and j.bounds::jsonb ? 'charge_refused'
  and coalesce(starts_with(j.error, '{"code":"content_refused"'), false)`;

/** By the job's id alone: with the account in it, a planner without figures may walk all of the account's entries a job. */
const JOBS = `select wrong.invariant, j.account_id, j.id as subject, wrong.what from ${WANTED}
  cross join lateral (select count(*) filter (where type = 'hold') as holds,
      coalesce(sum(amount) filter (where type = 'hold'), 0) as held,
      count(*) filter (where type = 'capture') as captures,
      coalesce(sum(amount) filter (where type = 'capture'), 0) as captured,
      coalesce(sum(amount) filter (where type = 'release'), 0) as released
    from ledger_transactions x where x.job_id = j.id and x.account_id || '' = j.account_id) t
  cross join lateral (select count(*) filter (where type = 'job.queued') as queued, count(*) filter (where type <> 'job.queued') as ends,
      min(type) filter (where type <> 'job.queued') as last
    from events x where x.account_id = j.account_id and x.job_id = j.id) e
  cross join lateral (values
    ('I2', case when t.holds <> 1 or t.held <> j.hold or t.captured > t.held
        or t.captured + t.released <> case when j.ended_at is null then 0 else t.held end
      then format('job: hold %s, status %s; %s hold entries of %s, captured %s, released %s', j.hold, j.status, t.holds, t.held, t.captured, t.released) end),
    ('I4', case when (j.status = 'queued') <> (j.slot is not null or j.place is not null) and j.status <> 'running'
        or (j.status = 'running' and (j.slot is null or j.worker_id is null)) or (j.ended_at is not null and (j.slot is not null or j.place is not null))
      then format('job: %s with slot %s, place %s, worker %s, end %s', j.status, j.slot, j.place, j.worker_id, j.ended_at) end),
    ('I4', case when j.created_at > (select millrace_now()) - interval '30 days'
        and (e.queued <> 1 or e.ends <> (j.ended_at is not null)::int or (j.ended_at is not null and e.last <> 'job.' || j.status))
      then format('job: %s, with %s job.queued and %s ends (%s)', j.status, e.queued, e.ends, e.last) end),
    ('I4', case when (select k.account_id from api_keys k where k.id = j.key_id) is distinct from j.account_id
      then format('job: of key %s, which is none of the account', j.key_id) end),
    ('I5', case when t.captures > 1 or t.captured <> coalesce(j.cost, 0) or (j.cost > 0 and ((j.status = 'failed' and not (${REFUSED})) or j.started_at is null
        or j.canceled_by in ('operator', 'suspension'))) or (j.status = 'succeeded' and j.output is null and j.data_deleted_at is null)
      then format('job: %s, cost %s; captured %s in %s entries', j.status, j.cost, t.captured, t.captures) end)
  ) as wrong (invariant, what)
  where wrong.what is not null`;

/**
 * I10: what a job's output names is one of its artifacts, as the output describes it. By the letter and not as JSON: a
 * vendor's words beside it may hold what jsonb refuses.
 */
const OUTPUTS = `select 'I10' as invariant, j.account_id, coalesce(named.id, j.id) as subject,
    format('the output of %s names %s, which is no artifact of it', j.id, coalesce(named.id, 'nothing')) as what
  from ${WANTED} left join lateral (
    select match[1] as id from regexp_matches(j.output, '"artifact_id":"(art_[0-9a-z]{26})"', 'g') match) named on true
  where j.kind in ('image', 'tts') and j.status = 'succeeded' and j.output is not null
    and (select true from artifacts a where a.account_id = j.account_id and a.job_id = j.id
      and a.id = named.id and position(a.sha256 in j.output) > 0) is null`;
