// What the sweep looks for. Each question is bounded, and answered from a partial index that holds only such rows.
import type { Db, Tx } from '../db/pool.ts';
import { rowset } from '../db/rowset.ts';
import type { Bell, Kind } from '../domain/job.ts';

export type Named = { accountId: string; jobId: string };

/**
 * Whether the sweep is this holder's for the next `forMs` (3 minutes at most). A row and not a lock, which a frozen process
 * would hold for ever; by the server's plain clock, since tests shift the other. Two that sweep at once do no harm.
 */
export async function holdSweep(
  db: Db,
  { holder, forMs }: { holder: string; forMs: number },
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'hold-sweep',
    text: `insert into settings as s (name, value) values ('sweeper', $1 || ' ' || clock_timestamp() + make_interval(secs => $2::float8 / 1000))
      on conflict (name) do update set value = excluded.value where split_part(s.value, ' ', 1) = $1
        or substr(s.value, strpos(s.value, ' '))::timestamptz not between clock_timestamp() and clock_timestamp() + interval '3 minutes'`,
    values: [holder, forMs],
  });
  return rowCount === 1;
}

/** Lets the next take over at once. */
export async function leaveSweep(db: Db, holder: string): Promise<void> {
  await db.query(
    `update settings set value = '- -infinity' where name = 'sweeper' and split_part(value, ' ', 1) = $1`,
    [holder],
  );
}

/**
 * Whether no other process is at the same task, as may be where the sweep changes hands in the middle of a pass. The lock is
 * the transaction's, so it cannot be left behind.
 */
export async function alone(tx: Db, task: string): Promise<boolean> {
  const { rows } = await tx.query<{ mine: boolean }>(
    `select pg_try_advisory_xact_lock(hashtext('millrace.sweep'), hashtext($1)) as mine`,
    [task],
  );
  return rows[0]?.mine ?? false;
}

/** Rung in vain so often (for 35 s), a job is rung under another name as well. */
const LATE_RINGS = 3;

/** Jobs with a slot that nobody claimed since they were rung: after 5 s, 10, 20, 40, then each 60. Marks them rung. */
export async function ringAgain(db: Db, limit: number): Promise<Bell[]> {
  const { rows } = await db.query<Bell & { rings: number }>({
    name: 'ring-again',
    text: `with clock as materialized (select millrace_now() as now),
      unheard as (select account_id, id from jobs, clock where slot is not null and status = 'queued'
        and rung_at < now - least(60, 5 * 2 ^ rings) * interval '1 second' order by rung_at limit $1 for update skip locked)
      update jobs j set rung_at = (select now from clock), rings = least(j.rings + 1, 10) from unheard u
      where j.account_id = u.account_id and j.id = u.id and j.status = 'queued' and j.slot is not null
      returning j.kind, j.account_id as "accountId", j.id as "jobId", j.epoch, j.slot, j.rings`,
    values: [limit],
  });
  return rows.map(({ rings, ...bell }) => (rings < LATE_RINGS ? bell : { ...bell, repeat: 'late' }));
}

/** What of one kind the queue should hold a message for. */
export interface Expected {
  kind: Kind;
  /** Jobs that wait with a slot, not counting those rung only just now. */
  waiting: number;
  /** Those, and the jobs that run: a message stays until its job's attempt is over. */
  messages: number;
  /** The database's time. */
  at: Date;
}

/**
 * Running jobs count if they were rung longer than `settledMs` ago, and not before `goneBefore`. Kinds for which no job
 * waits are left out.
 */
export async function expectedMessages(
  db: Db,
  { settledMs, goneBefore }: { settledMs: number; goneBefore: Date | null },
): Promise<Expected[]> {
  const { rows } = await db.query<Expected>({
    name: 'expected-messages',
    text: `with clock as materialized (select millrace_now() as now)
      select kind, now as at, count(*) filter (where status = 'queued')::int as waiting, count(*)::int as messages from jobs, clock
      where slot is not null and rung_at < now - make_interval(secs => $1::float8 / 1000)
        and (status = 'queued' or status = 'running' and rung_at >= coalesce($2::timestamptz, '-infinity'))
      group by kind, now having count(*) filter (where status = 'queued') > 0`,
    values: [settledMs, goneBefore],
  });
  return rows;
}

/**
 * The jobs of a kind that wait with a slot and were last rung before an instant, in pages by slot order. Marks them rung,
 * so that the same instant never finds them again.
 */
export async function ringAll(
  db: Db,
  { kind, before, limit }: { kind: Kind; before: Date; limit: number },
): Promise<Bell[]> {
  const { rows } = await db.query<Bell>({
    name: 'ring-all',
    text: `with clock as materialized (select millrace_now() as now),
      lost as (select account_id, id from jobs where slot is not null and status = 'queued' and kind = $1
        and rung_at < $2 order by slot limit $3 for update skip locked)
      update jobs j set rung_at = (select now from clock) from lost l
      where j.account_id = l.account_id and j.id = l.id and j.status = 'queued' and j.slot is not null
      returning j.kind, j.account_id as "accountId", j.id as "jobId", j.epoch, j.slot`,
    values: [kind, before, limit],
  });
  return rows;
}

/** Waiting jobs whose deadline has passed, in the line or with a slot. */
export async function overdue(db: Db, limit: number): Promise<Named[]> {
  const { rows } = await db.query<Named>({
    name: 'overdue',
    text: `with clock as materialized (select millrace_now() as now)
      (select account_id as "accountId", id as "jobId" from jobs where place is not null and deadline <= (select now from clock)
        order by deadline limit $1)
      union all
      (select account_id, id from jobs where slot is not null and status = 'queued' and deadline <= (select now from clock) limit $1)`,
    values: [limit],
  });
  return rows;
}

/** A job that runs at nobody's. */
export interface Orphan extends Named {
  epoch: number;
  kind: Kind;
  model: string;
  inputJson: string | null;
  inputKey: string | null;
  boundsJson: string;
  routeId: string;
  /** Until its deadline; negative after it. */
  remainingMs: number;
  cancelRequested: boolean;
  /** Attempts whose work has a name at a vendor and whose end is not known, the latest first. */
  earlier: { attempt: number; remoteId: string | null; routeId: string }[];
}

/**
 * Running jobs without a live worker. None for one lease after PostgreSQL started: workers could not renew while it was
 * away, and those that live will.
 */
export async function orphans(
  db: Db,
  { leaseMs, limit }: { leaseMs: number; limit: number },
): Promise<Orphan[]> {
  const { rows } = await db.query<Orphan>({
    name: 'orphans',
    text: `with clock as materialized (select millrace_now() as now)
      select account_id as "accountId", id as "jobId", epoch, kind, model, input as "inputJson", input_key as "inputKey",
        bounds as "boundsJson", route_id as "routeId", cancel_requested_at is not null as "cancelRequested",
        (extract(epoch from deadline - (select now from clock)) * 1000)::float8 as "remainingMs",
        (select coalesce(json_agg(json_build_object('attempt', a.attempt, 'remoteId', a.remote_id, 'routeId', a.route_id) order by a.attempt desc), '[]')
          from attempts a where a.account_id = j.account_id and a.job_id = j.id and a.remote_id is not null
            and (a.outcome is null or a.outcome in ('interrupted', 'ambiguous'))) as earlier
      from jobs j where slot is not null and status = 'running'
        and pg_postmaster_start_time() < clock_timestamp() - make_interval(secs => $1::float8 / 1000)
        and not exists (select from workers w where w.id = j.worker_id and w.lease_until > (select now from clock))
      limit $2`,
    values: [leaseMs, limit],
  });
  return rows;
}

/** Jobs in the line whose back-off has run out, those that are due longest first. */
export async function backOffsOver(db: Db, limit: number): Promise<Named[]> {
  const { rows } = await db.query<Named>({
    name: 'back-offs-over',
    text: `select account_id as "accountId", id as "jobId" from jobs where due_at <= (select millrace_now()) order by due_at limit $1`,
    values: [limit],
  });
  return rows;
}

const named = rowset<Named>({ account_id: ['text', (j) => j.accountId], id: ['text', (j) => j.jobId] });

/** Lets them wait as the rest of the line does. Called under their accounts' locks. */
export function endBackOffs(tx: Tx, jobs: readonly Named[]): void {
  tx.send({
    name: 'end-back-offs',
    text: `update jobs j set due_at = null from ${named.sql}
      where j.account_id = r.account_id and j.id = r.id and j.due_at <= (select millrace_now())`,
    values: named.values(jobs),
  });
}

/** The next accounts by id for which jobs wait in line: one probe of the line's index for each, however long the lines. */
export async function accountsInLine(db: Db, after: string, limit: number): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>({
    name: 'accounts-in-line',
    text: `with recursive line as (
        (select account_id as id from jobs where place is not null and due_at is null and account_id > $1 order by account_id limit 1)
        union all
        select (select j.account_id from jobs j where j.place is not null and j.due_at is null and j.account_id > line.id order by j.account_id limit 1)
        from line where line.id is not null)
      select id from line where id is not null limit $2`,
    values: [after, limit],
  });
  return rows.map((row) => row.id);
}

/** Lots that lapsed with credits left in them. */
export async function lapsedLots(db: Db, limit: number): Promise<{ id: string; accountId: string }[]> {
  const { rows } = await db.query<{ id: string; accountId: string }>({
    name: 'lapsed-lots',
    text: `select id, account_id as "accountId" from lots where remaining > 0 and expires_at <= (select millrace_now()) limit $1`,
    values: [limit],
  });
  return rows;
}

/** Routes whose overrun passed 1% of what they captured in the last hour; those of `sim` are only reported. */
export async function overrunRoutes(db: Db): Promise<{ id: string; overrun: bigint; captured: bigint }[]> {
  const { rows } = await db.query<{ id: string; overrun: bigint; captured: bigint }>(
    `with hour as materialized (select (select millrace_now()) - interval '1 hour' as start),
      beyond as materialized (
        select a.route_id as id, sum(a.overrun)::bigint as overrun from attempts a join routes r on r.id = a.route_id
        where (a.waste > 0 or a.overrun > 0) and a.ended_at > (select start from hour) and a.overrun > 0
          and r.enabled and r.provider <> 'sim' group by 1)
      select b.id, b.overrun, c.captured from beyond b cross join lateral (
        select coalesce(sum(j.cost), 0)::bigint as captured from attempts a
          join jobs j on j.account_id = a.account_id and j.id = a.job_id
        where a.route_id = b.id and a.started_at > (select start from hour) - interval '1 day'
          and a.ended_at > (select start from hour) and a.outcome = 'succeeded') c
      where b.overrun * 100 > c.captured`,
  );
  return rows;
}

export async function disableRoute(db: Db, route: { id: string; reason: string }): Promise<void> {
  await db.query('update routes set enabled = false, disabled_reason = $2 where id = $1', [
    route.id,
    route.reason,
  ]);
}
