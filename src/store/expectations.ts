import type { Db } from '../db/pool.ts';
import { idFloor } from '../domain/ids.ts';

/** What an account's recent jobs of one model came to. Null where there were none. */
export interface Expectation {
  samples: number;
  runMs: number | null;
  credits: bigint | null;
  /** The database's time in milliseconds is that many more than `performance.now()`. */
  clockMs: number;
}

/** Medians over the jobs since `since`, of one model or (null) of all, of at most 500. Ids begin with their time, so the primary key finds them. */
export async function expectations(
  db: Db,
  query: { accountId: string; model: string | null; since: Date },
): Promise<Expectation> {
  const { rows } = await db.query<{
    samples: number;
    run_ms: number | null;
    credits: number | null;
    now: Date;
  }>({
    name: 'expectations',
    text: `select count(*)::int as samples, millrace_now() as now,
        percentile_cont(0.5) within group (order by extract(epoch from ended_at - started_at)::float8 * 1000) as run_ms,
        percentile_cont(0.5) within group (order by cost::float8) as credits
      from (select started_at, ended_at, cost from jobs where account_id = $1 and ($2::text is null or model = $2) and status = 'succeeded' and id > $3
        order by id desc limit 500) recent`,
    values: [query.accountId, query.model, idFloor('job', query.since)],
  });
  const row = rows[0];
  return {
    samples: row?.samples ?? 0,
    runMs: row?.run_ms ?? null,
    clockMs: (row?.now.getTime() ?? Date.now()) - performance.now(),
    credits: row?.credits == null ? null : BigInt(Math.round(row.credits)),
  };
}
