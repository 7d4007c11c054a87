import type { Db, Tx } from '../db/pool.ts';
import { inserter } from '../db/rowset.ts';

export interface Event {
  accountId: string;
  sequence: bigint;
  id: string;
  type: string;
  jobId: string | null;
  /** The event as every channel carries it: JSON text, built once. */
  body: string;
}

const written = inserter<Event & { at: Date }>('events', {
  account_id: ['text', (e) => e.accountId],
  sequence: ['bigint', (e) => e.sequence],
  id: ['text', (e) => e.id],
  type: ['text', (e) => e.type],
  job_id: ['text', (e) => e.jobId],
  body: ['text', (e) => e.body],
  created_at: ['timestamptz', (e) => e.at],
});

/**
 * Appends events, and a delivery for each webhook endpoint that wants one. Their numbers were taken under the accounts'
 * locks, so whoever reads up to a number has seen everything before it.
 */
export function appendEvents(tx: Tx, events: readonly Event[], at: Date): void {
  if (events.length === 0) return;
  tx.send({
    name: 'append-events',
    text: `with written as (${written.text} returning account_id, sequence, type)
      insert into deliveries (account_id, event_sequence, endpoint_id, next_attempt_at, created_at)
      select w.account_id, w.sequence, e.id, $8::timestamptz, $8::timestamptz
      from written w join endpoints e on e.account_id = w.account_id and e.enabled and w.type = any(e.events)`,
    values: [...written.values(events.map((event) => ({ ...event, at }))), at],
  });
}

/** An account's events after a number, in order. */
export async function eventsAfter(
  db: Db,
  query: { accountId: string; after: bigint; limit: number },
): Promise<Pick<Event, 'sequence' | 'body'>[]> {
  const { rows } = await db.query<Pick<Event, 'sequence' | 'body'>>({
    name: 'events-after',
    text: 'select sequence, body from events where account_id = $1 and sequence > $2 order by sequence limit $3',
    values: [query.accountId, query.after, query.limit],
  });
  return rows;
}

/** Numbers of some jobs' events, in order. */
export async function jobEventsBetween(
  db: Db,
  query: { accountId: string; jobIds: readonly string[]; after: bigint; before: bigint },
): Promise<{ jobId: string; sequence: bigint }[]> {
  const { rows } = await db.query<{ jobId: string; sequence: bigint }>({
    name: 'job-events-between',
    text: `select job_id as "jobId", sequence from events
      where account_id = $1 and job_id = any($2) and sequence > $3 and sequence < $4 order by sequence`,
    values: [query.accountId, query.jobIds, query.after, query.before],
  });
  return rows;
}
