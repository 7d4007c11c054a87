// Deliveries as their owner looks at them, and sends them again.
import type { Db } from '../db/pool.ts';
import { idFloor } from '../domain/ids.ts';
import type { Turn } from '../domain/page.ts';
import type { DeliveryStatus } from '../domain/webhook.ts';

export interface DeliveryRow {
  id: string;
  endpointId: string;
  eventId: string | null;
  eventType: string | null;
  url: string | null;
  status: DeliveryStatus;
  nextAttemptAt: Date | null;
  createdAt: Date;
  endedAt: Date | null;
  attempts: CallRow[];
}

/** As JSON: times are texts. */
export interface CallRow {
  n: number;
  at: string;
  duration_ms: number;
  http_status: number | null;
  error: string | null;
  response_body: string | null;
}

/** @param kept characters of each answer */
const columns = (
  kept: number | null,
): string => `d.id, d.endpoint_id as "endpointId", v.id as "eventId", v.type as "eventType",
  d.url, d.status, d.next_attempt_at as "nextAttemptAt", d.created_at as "createdAt", d.ended_at as "endedAt",
  (select coalesce(json_agg(json_build_object('n', a.n, 'at', to_char(a.started_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
      'duration_ms', a.duration_ms, 'http_status', a.http_status, 'error', a.error,
      'response_body', ${kept === null ? 'a.response_body' : `left(a.response_body, ${kept})`}) order by a.n), '[]')
    from delivery_attempts a where a.account_id = d.account_id and a.delivery_id = d.id) as attempts`;

/** Each by its key: as a plain join, with statistics that are too old, all events of the account would be read. */
const EVENT = `left join lateral (select e.id, e.type from events e where e.account_id = d.account_id
  and e.sequence = d.event_sequence and e.created_at = d.created_at limit 1) v on true`;

/** Of each answer a list shows so much. */
export const LISTED_CHARACTERS = 1_024;

/** An endpoint's deliveries between two ids. */
export async function listDeliveries(
  db: Db,
  {
    accountId,
    endpointId,
    status,
    turn: { after, before, ascending, limit },
  }: { accountId: string; endpointId: string; status: DeliveryStatus | null; turn: Turn<string> },
): Promise<DeliveryRow[]> {
  const [past, until] = ascending ? ['>', '<'] : ['<', '>'];
  const { rows } = await db.query<DeliveryRow>(
    `select ${columns(LISTED_CHARACTERS)} from (select * from deliveries where account_id = $1 and endpoint_id = $2
        and ($3::text is null or id ${past} $3) and ($4::text is null or id ${until} $4) and ($5::text is null or status = $5)
        order by id ${ascending ? 'asc' : 'desc'} limit $6) d ${EVENT} order by d.id ${ascending ? 'asc' : 'desc'}`,
    [accountId, endpointId, after, before, status, limit],
  );
  return rows;
}

export async function findDelivery(db: Db, accountId: string, id: string): Promise<DeliveryRow | null> {
  const { rows } = await db.query<DeliveryRow>(
    `select ${columns(null)} from deliveries d ${EVENT} where d.account_id = $1 and d.id = $2`,
    [accountId, id],
  );
  return rows[0] ?? null;
}

const AGAIN = `status = 'pending', failures = 0, next_attempt_at = (select millrace_now()), ended_at = null`;
/** One that is called at this moment is on its way already. */
const NOT_CALLED = `(d.calling_until is null or d.calling_until <= (select millrace_now()))`;

/** Begins a new round of calls, at once. */
export async function redeliver(db: Db, accountId: string, id: string): Promise<void> {
  await db.query(
    `update deliveries d set ${AGAIN}, calling_until = null where d.account_id = $1 and d.id = $2 and ${NOT_CALLED}`,
    [accountId, id],
  );
}

/** An id is made a moment after the instant that its delivery carries. */
const ID_SLACK_MS = 60_000;

export interface Span {
  accountId: string;
  endpointId: string;
  /** Both belong to it. */
  from: Date;
  to: Date;
  onlyFailed: boolean;
  limit: number;
}

/**
 * Begins a new round for those of a span of time that have ended, the oldest first.
 * @returns how many, and, if there may be more, the instant to go on from
 */
export async function redeliverSpan(
  db: Db,
  { accountId, endpointId, from, to, onlyFailed, limit }: Span,
): Promise<{ count: number; next: Date | null }> {
  const { rows } = await db.query<{ createdAt: Date }>(
    `with found as materialized (select d.account_id, d.event_sequence, d.endpoint_id, d.created_at from deliveries d
        where d.account_id = $1 and d.endpoint_id = $2 and d.id >= $3 and d.id < $4 and d.created_at between $5 and $6
          and d.status = any($7) and ${NOT_CALLED} order by d.id limit $8 for update skip locked)
      update deliveries d set ${AGAIN}, calling_until = null from found f
      where d.account_id = f.account_id and d.event_sequence = f.event_sequence and d.endpoint_id = f.endpoint_id
      returning d.created_at as "createdAt"`,
    [
      accountId,
      endpointId,
      idFloor('dlv', new Date(Math.max(0, from.getTime()))),
      idFloor('dlv', new Date(to.getTime() + ID_SLACK_MS)),
      from,
      to,
      onlyFailed ? ['failed', 'exhausted'] : ['delivered', 'failed', 'exhausted'],
      limit,
    ],
  );
  const last = Math.max(...rows.map(({ createdAt }) => createdAt.getTime()));
  return { count: rows.length, next: rows.length < limit ? null : new Date(last) };
}

/** Removes some of what is older than an instant, calls included. Answers whether there may be more. */
export async function removeDeliveries(db: Db, before: Date, limit: number): Promise<boolean> {
  const { rows } = await db.query<{ count: number }>(
    `with old as materialized (select account_id, event_sequence, endpoint_id from deliveries where id < $1 order by id limit $2 for update skip locked),
      gone as (delete from deliveries d using old o where d.account_id = o.account_id and d.event_sequence = o.event_sequence
        and d.endpoint_id = o.endpoint_id returning d.account_id, d.id),
      calls as (delete from delivery_attempts a using gone g where a.account_id = g.account_id and a.delivery_id = g.id)
      select count(*)::int as count from gone`,
    [idFloor('dlv', before), limit],
  );
  return (rows[0]?.count ?? 0) >= limit;
}
