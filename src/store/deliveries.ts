// Deliveries on their way: which are due, who calls them, what came of it.
//
// A delivery that is called stays due for later, at the instant when its caller is taken for dead; so a worker that dies
// needs nobody to clean up after it. Whoever takes deliveries of a lane holds the lane's lock, so that no two workers count
// its calls at once; nobody else waits for rows here, so that nothing waits in a circle.
import type { Db, Tx } from '../db/pool.ts';
import { inserter, rowset } from '../db/rowset.ts';
import type { CallResult, DeliveryStatus, Payload } from '../domain/webhook.ts';

/** A lane of which something is due. */
export interface DueLane {
  lane: string;
  accountId: string;
}

/** So many that are due are looked at one by one; where more are due, lane by lane. */
const HEAD = 500;
/** Lanes that one look passes. */
const WALK = 500;

/**
 * Lanes of which something is due, those that wait longest first. `next`: where the walk over lanes goes on, null if none
 * is needed. However many wait in one lane, and however many lanes wait for later, a look costs some milliseconds.
 * @param after lanes up to this one were looked at
 * @param without accounts that are to wait
 */
export async function dueLanes(
  db: Db,
  { after, without }: { after: string; without: readonly string[] },
): Promise<{ lanes: DueLane[]; next: string | null }> {
  const { rows } = await db.query<DueLane & { due: boolean; walked: boolean }>({
    name: 'due-lanes',
    text: `with recursive clock as materialized (select millrace_now() as now),
      head as materialized (select lane, account_id, next_attempt_at from deliveries
        where next_attempt_at <= (select now from clock) order by next_attempt_at limit ${HEAD}),
      walk as (
        (select d.lane from deliveries d where (select count(*) from head) = ${HEAD}
          and d.next_attempt_at is not null and d.lane > $1 order by d.lane limit 1)
        union all
        select (select d.lane from deliveries d where d.next_attempt_at is not null and d.lane > w.lane order by d.lane limit 1)
        from walk w where w.lane is not null),
      walked as materialized (select lane from walk where lane is not null limit ${WALK})
      select lane, "accountId", due and "accountId" <> all($2) as due, walked from (
        select lane, min(account_id) as "accountId", true as due, false as walked, min(next_attempt_at) as since from head group by lane
        union all
        select w.lane, f.account_id, f.next_attempt_at <= (select now from clock), true, f.next_attempt_at
        from walked w cross join lateral (select account_id, next_attempt_at from deliveries d
          where d.lane = w.lane and d.next_attempt_at is not null order by d.next_attempt_at limit 1) f) found
      order by since`,
    values: [after, without],
  });
  const walked = rows.filter((row) => row.walked).map((row) => row.lane);
  const due = new Map(
    rows.filter((row) => row.due).map(({ lane, accountId }) => [lane, { lane, accountId }]),
  );
  const last = walked.reduce((a, b) => (a > b ? a : b), '');
  return { lanes: [...due.values()], next: walked.length < WALK ? null : last };
}

/** Of these lanes, those that nobody else takes from at this moment, until the transaction ends. */
export async function lockLanes(
  tx: Tx,
  lanes: readonly string[],
): Promise<{ lane: string; enabled: boolean }[]> {
  const { rows } = await tx.query<{ lane: string; enabled: boolean; mine: boolean }>({
    name: 'lock-lanes',
    text: `select l.lane, e.enabled, pg_try_advisory_xact_lock(hashtext('millrace.lane'), hashtext(l.lane)) as mine
      from unnest($1::text[]) as l (lane) join endpoints e on e.id = split_part(l.lane, ' ', 1)`,
    values: [lanes],
  });
  return rows.filter((row) => row.mine);
}

/** A delivery to be called now, with all that it takes. */
export interface Claimed {
  id: string;
  accountId: string;
  endpointId: string;
  forJobs: boolean;
  lane: string;
  /** The number of this call: what is written at its end counts only while it is the last. */
  attempt: number;
  failures: number;
  at: Date;
  url: string;
  payload: Payload;
  secret: Buffer;
  oldSecret: Buffer | null;
  eventId: string | null;
  /** Null: the event is not kept any more. */
  body: string | null;
}

/** How many calls a taker has left, of all and of each account. */
export interface Room {
  limit: number;
  perAccount: number;
  /** Calls that it has under way, by account. */
  underWay: ReadonlyMap<string, number>;
}

/**
 * Takes what is due of locked lanes whose endpoints are on, of each as much as it may be called at once, and of those first
 * that have the fewest calls under way. An account may have any number of lanes, so it is counted besides.
 * @param atOnce calls of one lane
 */
export async function claimDeliveries(
  tx: Tx,
  {
    lanes,
    atOnce,
    callMs,
    room: { limit, perAccount, underWay },
  }: { lanes: readonly string[]; atOnce: number; callMs: number; room: Room },
): Promise<Claimed[]> {
  const { rows } = await tx.query<Claimed>({
    name: 'claim-deliveries',
    text: `with clock as materialized (select millrace_now() as now),
      room as materialized (
        select l.lane, greatest(0, $2 - (select count(*) from deliveries c
          where c.lane = l.lane and c.calling_until > (select now from clock))) as free
        from unnest($1::text[]) as l (lane) join endpoints e on e.id = split_part(l.lane, ' ', 1) and e.enabled),
      due as (
        select d.*, row_number() over (partition by d.lane order by d.next_attempt_at, d.id) - r.free as turn
        from room r cross join lateral (
          select x.account_id, x.event_sequence, x.endpoint_id, x.id, x.lane, x.next_attempt_at from deliveries x
          where x.lane = r.lane and x.next_attempt_at <= (select now from clock)
          order by x.next_attempt_at limit r.free for update skip locked) d),
      ranked as (
        select d.*, coalesce(b.calls, 0) + row_number() over (partition by d.account_id order by d.turn, d.next_attempt_at) as nth
        from due d left join unnest($5::text[], $6::integer[]) as b (account_id, calls) on b.account_id = d.account_id),
      taken as materialized (select * from ranked where nth <= $7 order by turn, next_attempt_at limit $3),
      called as (
        update deliveries d set attempts = d.attempts + 1,
          calling_until = (select now from clock) + make_interval(secs => $4::float8 / 1000),
          next_attempt_at = (select now from clock) + make_interval(secs => $4::float8 / 1000)
        from taken t where d.account_id = t.account_id and d.event_sequence = t.event_sequence and d.endpoint_id = t.endpoint_id
        returning d.*)
      select c.id, c.account_id as "accountId", c.endpoint_id as "endpointId", e.for_jobs as "forJobs", c.lane,
        c.attempts as attempt, c.failures, (select now from clock) as at, coalesce(c.url, e.url) as url, e.payload, e.secret,
        case when e.old_secret_until > (select now from clock) then e.old_secret end as "oldSecret", v.id as "eventId", v.body
      from called c join endpoints e on e.account_id = c.account_id and e.id = c.endpoint_id
      left join lateral (select v.id, v.body from events v where v.account_id = c.account_id and v.sequence = c.event_sequence
        and v.created_at = c.created_at limit 1) v on true`,
    values: [lanes, atOnce, limit, callMs, [...underWay.keys()], [...underWay.values()], perAccount],
  });
  return rows;
}

/** A call that is over, and what it means for its delivery. */
export interface Called extends CallResult {
  id: string;
  accountId: string;
  attempt: number;
  startedAt: Date;
  status: DeliveryStatus;
  /** Until the next call; null: there is none. */
  waitMs: number | null;
}

const calls = inserter<Called>('delivery_attempts', {
  account_id: ['text', (c) => c.accountId],
  delivery_id: ['text', (c) => c.id],
  n: ['integer', (c) => c.attempt],
  started_at: ['timestamptz', (c) => c.startedAt],
  duration_ms: ['integer', (c) => c.durationMs],
  http_status: ['integer', (c) => c.httpStatus],
  error: ['text', (c) => c.error],
  response_body: ['text', (c) => c.body],
});

const ended = rowset<Called>({
  id: ['text', (c) => c.id],
  attempt: ['integer', (c) => c.attempt],
  status: ['text', (c) => c.status],
  wait_ms: ['integer', (c) => c.waitMs],
});

/**
 * Writes down calls that are over. Of one that was taken for dead meanwhile only the call itself is noted; of a delivery
 * that was ended meanwhile nothing changes unless it got through. A no-op the second time.
 */
export function writeCalls(tx: Tx, list: readonly Called[]): void {
  tx.send({
    name: 'write-calls',
    text: `${calls.text} on conflict do nothing`,
    values: calls.values(list),
  });
  tx.send({
    name: 'end-calls',
    text: `with clock as materialized (select millrace_now() as now)
      update deliveries d set calling_until = null, failures = d.failures + case when r.status = 'delivered' then 0 else 1 end,
        status = case when d.next_attempt_at is null and r.status <> 'delivered' then d.status else r.status end,
        next_attempt_at = case when d.next_attempt_at is not null
          then (select now from clock) + make_interval(secs => r.wait_ms::float8 / 1000) end,
        ended_at = case when d.next_attempt_at is null and r.status <> 'delivered' then d.ended_at
          when r.status = 'pending' then null else (select now from clock) end
      from ${ended.sql} where d.id = r.id and d.attempts = r.attempt and d.calling_until is not null`,
    values: ended.values(list),
  });
}

/** Ends what waits in lanes that are called no more. Answers whether there may be more than `limit`. */
export async function endWaiting(tx: Db, lanes: readonly string[], limit: number): Promise<boolean> {
  const { rowCount } = await tx.query({
    name: 'end-waiting-deliveries',
    text: `with waiting as materialized (
        select d.account_id, d.event_sequence, d.endpoint_id from unnest($1::text[]) as l (lane) cross join lateral (
          select x.account_id, x.event_sequence, x.endpoint_id from deliveries x
          where x.lane = l.lane and x.next_attempt_at is not null order by x.next_attempt_at limit $2 for update skip locked) d)
      update deliveries d set status = 'failed', next_attempt_at = null, ended_at = (select millrace_now()) from waiting w
      where d.account_id = w.account_id and d.event_sequence = w.event_sequence and d.endpoint_id = w.endpoint_id`,
    values: [lanes, limit],
  });
  return (rowCount ?? 0) >= limit;
}
