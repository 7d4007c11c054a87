import type { Db, Tx } from '../db/pool.ts';
import { inserter, rowset } from '../db/rowset.ts';

export interface Event {
  accountId: string;
  sequence: bigint;
  id: string;
  type: string;
  jobId: string | null;
  /** The event as every channel carries it: JSON text, built once. */
  body: string;
  /** Where its job's own webhook leads: the end of a job is told there too. */
  webhookUrl?: string | null;
  /** An endpoint that is not told of it, since it is about that. */
  notTo?: string;
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

const toJobs = rowset<Event & { url: string }>(
  {
    account_id: ['text', (e) => e.accountId],
    sequence: ['bigint', (e) => e.sequence],
    url: ['text', (e) => e.url],
    host: ['text', (e) => new URL(e.url).host],
  },
  2,
);

/**
 * Appends events, and a delivery for each webhook endpoint that wants one, and for their jobs' own webhooks. Their numbers
 * were taken under the accounts' locks, so whoever reads up to a number has seen everything before it.
 * @returns whether there is anything to deliver: to be awaited after the commit, since nothing else waits for it
 */
export function appendEvents(tx: Tx, events: readonly Event[], at: Date): Promise<boolean> {
  if (events.length === 0) return Promise.resolve(false);
  const told = tx.send({
    name: 'append-events',
    text: `with written as (${written.text} returning account_id, sequence, type)
      insert into deliveries (account_id, event_sequence, endpoint_id, lane, next_attempt_at, created_at)
      select w.account_id, w.sequence, e.id, e.id, $8::timestamptz, $8::timestamptz
      from written w join endpoints e on e.account_id = w.account_id and e.enabled
        and e.events && array['*', split_part(w.type, '.', 1) || '.*', w.type]`,
    values: [...written.values(events.map((event) => ({ ...event, at }))), at],
  });
  for (const { accountId, sequence, notTo } of events)
    if (notTo !== undefined)
      tx.send({
        text: 'delete from deliveries where account_id = $1 and event_sequence = $2 and endpoint_id = $3',
        values: [accountId, sequence, notTo],
      });
  const own = events.flatMap((event) => (event.webhookUrl ? [{ ...event, url: event.webhookUrl }] : []));
  if (own.length === 0) return anyOf(told);
  const toOwn = tx.send({
    name: 'append-job-deliveries',
    text: `insert into deliveries (account_id, event_sequence, endpoint_id, url, lane, next_attempt_at, created_at)
      select r.account_id, r.sequence, e.id, r.url, e.id || ' ' || r.host, $1::timestamptz, $1::timestamptz
      from ${toJobs.sql} join endpoints e on case when e.for_jobs then e.account_id end = r.account_id`,
    values: [at, ...toJobs.values(own)],
  });
  return anyOf(toOwn);
}

/** A failure is the transaction's to tell. */
function anyOf(written: ReturnType<Tx['send']>): Promise<boolean> {
  return written.then(
    ({ rowCount }) => rowCount !== 0,
    () => false,
  );
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
