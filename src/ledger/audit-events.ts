// An account's events are numbered without gaps, as far back as they are kept, and each is of a job that is there.
import type { Db } from '../db/pool.ts';
import { SPANS, spanValues } from './audit-entries.ts';
import type { Breach } from './audit-findings.ts';
import { packs, type Span } from './audit-spans.ts';

export async function* auditEvents(
  db: Db,
  spans: readonly Span[],
): AsyncGenerator<{ pack: Span[]; rows: number; breaches: Breach[] }> {
  for (const pack of packs(spans)) {
    const [gaps, strays] = await Promise.all([
      db.query<Breach>(GAPS, spanValues(pack)),
      db.query<Breach>(STRAYS, spanValues(pack)),
    ]);
    const looked = pack.reduce((sum, { after, upto }) => sum + Number(upto - after), 0);
    yield { pack, rows: looked, breaches: [...gaps.rows, ...strays.rows] };
  }
}

/** The jobs that events of a pack are about. */
export async function jobsOfEvents(
  db: Db,
  pack: readonly Span[],
): Promise<{ account_id: string; id: string }[]> {
  const { rows } = await db.query<{ account_id: string; id: string }>(
    `select distinct e.account_id, e.job_id as id from ${SPANS} cross join lateral (select account_id, job_id from events x
        where x.account_id = s.account_id and x.sequence > s.after and x.sequence <= s.upto and x.job_id is not null offset 0) e`,
    spanValues(pack),
  );
  return rows;
}

const STRAYS = `select distinct 'I4' as invariant, e.account_id, e.job_id as subject,
    format('job: events tell of it (%s), and it is none of the account', e.type) as what
  from ${SPANS} cross join lateral (select account_id, job_id, type from events x
      where x.account_id = s.account_id and x.sequence > s.after and x.sequence <= s.upto and x.job_id is not null offset 0) e
  where (select true from jobs j where j.account_id = e.account_id and j.id = e.job_id) is null`;

/** The first one that is kept is asked for in the same statement, since the sweep drops old months meanwhile. */
const GAPS = `select 'I4' as invariant, s.account_id, s.account_id as subject,
    format('account: of its events %s to %s there are %s', greatest(s.after, kept.first - 1) + 1, s.upto, e.n) as what
  from ${SPANS}
    cross join lateral (select min(x.sequence) as first from events x where x.account_id = s.account_id) kept
    cross join lateral (select count(*) as n from events x
      where x.account_id = s.account_id and x.sequence > s.after and x.sequence <= s.upto) e
  where e.n <> case when kept.first is null then 0 else greatest(s.upto - greatest(s.after, kept.first - 1), 0) end`;
