import type { Db } from '../db/pool.ts';
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
export async function appendEvents(tx: Db, events: readonly Event[], at: Date): Promise<void> {
  if (events.length === 0) return;
  await tx.query({
    name: 'append-events',
    text: `with written as (${written.text} returning account_id, sequence, type)
      insert into deliveries (account_id, event_sequence, endpoint_id, next_attempt_at, created_at)
      select w.account_id, w.sequence, e.id, $8::timestamptz, $8::timestamptz
      from written w join endpoints e on e.account_id = w.account_id and e.enabled and w.type = any(e.events)`,
    values: [...written.values(events.map((event) => ({ ...event, at }))), at],
  });
}

/** Events after a number, in order; of one job or of the whole account. */
export async function eventsAfter(
  db: Db,
  query: { accountId: string; jobId: string | null; after: bigint; limit: number },
): Promise<Pick<Event, 'sequence' | 'type' | 'jobId' | 'body'>[]> {
  const { rows } = await db.query<Pick<Event, 'sequence' | 'type' | 'jobId' | 'body'>>({
    name: query.jobId === null ? 'events-after' : 'job-events-after',
    text: `select sequence, type, job_id as "jobId", body from events
      where account_id = $1 and sequence > $2 ${query.jobId === null ? '' : 'and job_id = $4'} order by sequence limit $3`,
    values: [query.accountId, query.after, query.limit, ...(query.jobId === null ? [] : [query.jobId])],
  });
  return rows;
}

/** The oldest number still kept (0 where there is none), and the last one given out. */
export async function eventRange(db: Db, accountId: string): Promise<{ oldest: bigint; newest: bigint }> {
  const { rows } = await db.query<{ oldest: bigint; newest: bigint }>({
    name: 'event-range',
    text: `select coalesce((select sequence from events where account_id = a.id order by sequence limit 1), 0::bigint) as oldest,
        a.event_sequence as newest from accounts a where a.id = $1`,
    values: [accountId],
  });
  return rows[0] ?? { oldest: 0n, newest: 0n };
}
