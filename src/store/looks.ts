// What the live channels ask of the database, as the client's role. The two looks are functions there (migration 0002), so
// that one costs a single round trip.
import type { Db } from '../db/pool.ts';
import type { Cursor } from '../domain/cursor.ts';
import type { Status } from '../domain/job.ts';
import type { DeltaRun } from './deltas.ts';
import type { Event } from './events.ts';

type ToldEvent = Pick<Event, 'sequence' | 'type' | 'body'>;

/** A job and what somebody has not heard of it, as of one moment. */
export interface JobLook {
  status: Status;
  epoch: number;
  /** How many of the account's own jobs start before it; null unless it waits. */
  position: number | null;
  events: ToldEvent[];
  /** Of the current attempt, in order. */
  deltas: DeltaRun[];
  /** There are more deltas: look again. */
  more: boolean;
}

const STEPS_A_LOOK = 8;

interface Row {
  part: 'job' | 'event' | 'deltas';
  number: bigint;
  count: number | null;
  word: string | null;
  body: string | null;
}

/** Null: the account has no such job. */
export async function lookAtJob(
  client: Db,
  { accountId, jobId, cursor }: { accountId: string; jobId: string; cursor: Cursor },
): Promise<JobLook | null> {
  const { rows } = await client.query<Row>({
    name: 'look-at-job',
    text: 'select part, number, count, word, body from look_at_job($1, $2, $3, $4, $5, $6)',
    values: [accountId, jobId, cursor.sequence, cursor.attempt, cursor.offset, STEPS_A_LOOK],
  });
  let look: JobLook | null = null;
  for (const { part, number, count, word, body } of rows) {
    if (part === 'job')
      look = {
        status: word as Status,
        epoch: Number(number),
        position: count,
        events: [],
        deltas: [],
        more: false,
      };
    else if (part === 'event') look?.events.push({ sequence: number, type: word ?? '', body: body ?? '' });
    else look?.deltas.push({ first: Number(number), count: count ?? 0, deltasJson: body ?? '' });
  }
  if (!look) return null;
  return {
    ...look,
    events: look.events.toSorted((a, b) => (a.sequence < b.sequence ? -1 : 1)),
    more: look.deltas.length === STEPS_A_LOOK,
  };
}

const EVENTS_A_LOOK = 200;
const BYTES_A_LOOK = 256 * 1024;

/** An account's next events after a number. `more`: there may be further ones, look again. */
export async function lookAtEvents(
  client: Db,
  { accountId, after }: { accountId: string; after: bigint },
): Promise<{ events: ToldEvent[]; more: boolean }> {
  const { rows } = await client.query<ToldEvent>({
    name: 'look-at-events',
    text: 'select sequence, type, body from look_at_events($1, $2, $3, $4)',
    values: [accountId, after, EVENTS_A_LOOK, BYTES_A_LOOK],
  });
  const bytes = rows.reduce((sum, { body }) => sum + Buffer.byteLength(body), 0);
  return { events: rows, more: rows.length === EVENTS_A_LOOK || bytes >= BYTES_A_LOOK };
}

const OLDEST = `coalesce((select e.sequence from events e where e.account_id = a.id order by e.sequence limit 1), a.event_sequence + 1)`;

/** What there is to be heard of a job, to judge a cursor by. */
export interface Bounds {
  /** Numbers of the account's events: the oldest that is kept (past the newest if none is), and the newest. */
  oldest: bigint;
  newest: bigint;
  /** The number of the job's first event. */
  queued: bigint;
  /** How many deltas of the cursor's attempt are kept. */
  said: number;
  /** Whether it has an event after the cursor. */
  unheard: boolean;
}

export async function boundsOf(
  tx: Db,
  { accountId, jobId, cursor }: { accountId: string; jobId: string; cursor: Cursor },
): Promise<Bounds | null> {
  const { rows } = await tx.query<Bounds>({
    name: 'bounds-of',
    text: `select a.event_sequence as newest, ${OLDEST} as oldest, j.sequence as queued,
        coalesce((select d.first + d.count from deltas d where d.account_id = j.account_id and d.job_id = j.id and d.attempt = $4
            and d.created_at = j.started_at order by d.first desc limit 1), 0) as said,
        exists (select from events e where e.account_id = j.account_id and e.job_id = j.id and e.sequence > $3) as unheard
      from accounts a join jobs j on j.account_id = a.id where a.id = $1 and j.id = $2`,
    values: [accountId, jobId, cursor.sequence, cursor.attempt],
  });
  return rows[0] ?? null;
}

/** Numbers of an account's events: the oldest that is kept (past the newest if none is), and the newest. */
export async function eventRange(tx: Db, accountId: string): Promise<Pick<Bounds, 'oldest' | 'newest'>> {
  const { rows } = await tx.query<Pick<Bounds, 'oldest' | 'newest'>>({
    name: 'event-range',
    text: `select a.event_sequence as newest, ${OLDEST} as oldest from accounts a where a.id = $1`,
    values: [accountId],
  });
  return rows[0] ?? { oldest: 1n, newest: 0n };
}
