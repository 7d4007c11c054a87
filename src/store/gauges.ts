import type { Db } from '../db/pool.ts';
import type { Kind } from '../domain/job.ts';

export interface Gauges {
  /** `kind` is `all` for the line, which is counted on the accounts. */
  jobs: { kind: Kind | 'all'; state: string; count: number; oldest_s: number | null }[];
  workers: { queue: string; count: number }[];
  credits: { available: bigint; held: bigint };
  operator: { provider: string; waste: bigint; overrun: bigint }[];
  /** How long the webhook that is due longest has been so; 0: none is. */
  webhookLateS: number;
}

/** A look at everything that is open. The partial indexes hold just these rows. */
export async function readGauges(db: Db): Promise<Gauges> {
  const jobs = await db.query<Gauges['jobs'][number]>(
    `select kind, status as state, count(*)::int as count, extract(epoch from (select millrace_now()) - min(rung_at))::float8 as oldest_s
      from jobs where slot is not null group by 1, 2
      union all select 'all', 'line', coalesce(sum(line_waiting), 0)::int, null from accounts`,
  );
  const workers = await db.query<Gauges['workers'][number]>(
    `select unnest(queues) as queue, count(*)::int as count from workers where lease_until > (select millrace_now()) group by 1`,
  );
  const credits = await db.query<Gauges['credits']>(
    `select coalesce(sum(available), 0)::bigint as available, coalesce(sum(held), 0)::bigint as held from accounts where livemode`,
  );
  const operator = await db.query<Gauges['operator'][number]>(
    `select r.provider, coalesce(sum(a.waste), 0)::bigint as waste, coalesce(sum(a.overrun), 0)::bigint as overrun
      from routes r left join attempts a on a.route_id = r.id and (a.waste > 0 or a.overrun > 0)
        and a.ended_at > (select millrace_now()) - interval '1 hour' group by 1`,
  );
  const late = await db.query<{ seconds: number }>(
    `select coalesce(greatest(0, extract(epoch from (select millrace_now()) - (select next_attempt_at from deliveries
      where next_attempt_at is not null order by next_attempt_at limit 1))), 0)::float8 as seconds`,
  );
  return {
    webhookLateS: late.rows[0]?.seconds ?? 0,
    jobs: jobs.rows,
    workers: workers.rows,
    credits: credits.rows[0] as Gauges['credits'],
    operator: operator.rows,
  };
}
