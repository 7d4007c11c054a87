// The line of an account: who is next, where one stands in it, and the slots that are given away.
import type { Db, Tx } from '../db/pool.ts';
import { rowset } from '../db/rowset.ts';
import type { Bell, Kind } from '../domain/job.ts';

/** A job that may have a free slot. */
export interface NextInLine {
  accountId: string;
  jobId: string;
  kind: Kind;
  epoch: number;
  /** The slot with which it has waited to be heard for a while already; null: it waits in the line. */
  slot: number | null;
}

const free = rowset<{ accountId: string; free: number }>({
  account_id: ['text', (f) => f.accountId],
  free: ['integer', (f) => f.free],
});

/**
 * For each account as many as it has free slots: of those that hold a slot and have not been heard for a second, and of
 * those in the line that are not in back-off; each in their order. Called under the accounts' locks. Who is just being
 * claimed is left out.
 */
export async function nextInLine(
  tx: Db,
  wanted: readonly { accountId: string; free: number }[],
): Promise<NextInLine[]> {
  const { rows } = await tx.query<NextInLine>({
    name: 'next-in-line',
    text: `with clock as materialized (select millrace_now() as now),
      unheard as materialized (
        select j.account_id, j.id, j.kind, j.epoch, j.slot from ${free.sql} cross join clock cross join lateral (
          select * from jobs j where j.account_id = r.account_id and j.slot is not null and j.status = 'queued'
            and j.rung_at < clock.now - interval '1 second'
          order by j.priority, j.sequence limit r.free for no key update skip locked) j),
      line as (
        select j.account_id, j.id, j.kind, j.epoch, null::integer from ${free.sql} cross join clock cross join lateral (
          select * from jobs j where j.account_id = r.account_id and j.place is not null and j.due_at is null
            and j.deadline > clock.now
          order by j.priority, j.place limit r.free) j)
      select account_id as "accountId", id as "jobId", kind, epoch, slot from (table unheard union all table line) next`,
    values: free.values(wanted),
  });
  return rows;
}

const given = rowset<Bell>(
  {
    account_id: ['text', (b) => b.accountId],
    id: ['text', (b) => b.jobId],
    slot: ['integer', (b) => b.slot],
  },
  2,
);

export function giveSlots(tx: Tx, bells: readonly Bell[], at: Date): void {
  if (bells.length === 0) return;
  tx.send({
    name: 'give-slots',
    text: `update jobs j set slot = r.slot, place = null, due_at = null, rung_at = $1, rings = 0
      from ${given.sql} where j.account_id = r.account_id and j.id = r.id and j.place is not null`,
    values: [at, ...given.values(bells)],
  });
}

/** Gives jobs that this transaction has locked, and that hold a slot unheard, a lower one that is free. */
export function moveSlots(tx: Tx, bells: readonly Bell[], at: Date): void {
  if (bells.length === 0) return;
  tx.send({
    name: 'move-slots',
    text: `update jobs j set slot = r.slot, rung_at = $1
      from ${given.sql} where j.account_id = r.account_id and j.id = r.id and j.status = 'queued' and j.slot is not null`,
    values: [at, ...given.values(bells)],
  });
}

/** How many of the account's own jobs start before this one; counted from the line's index, exact to 1,000. */
export async function positionInLine(db: Db, job: { accountId: string; jobId: string }): Promise<number> {
  const { rows } = await db.query<{ ahead: number }>({
    name: 'position-in-line',
    text: `select count(*)::int as ahead from (
        select 1 from jobs me join jobs j on j.account_id = me.account_id and j.place is not null
          and (j.priority, j.place) < (me.priority, me.place)
        where me.account_id = $1 and me.id = $2 and me.place is not null limit 1000) as before`,
    values: [job.accountId, job.jobId],
  });
  return rows[0]?.ahead ?? 0;
}

/** How many waiting jobs would start before one that came now with that priority; counted to 1,000. */
export async function countAhead(
  db: Db,
  { accountId, priority }: { accountId: string; priority: number },
): Promise<number> {
  const { rows } = await db.query<{ ahead: number }>({
    name: 'count-ahead',
    text: `select count(*)::int as ahead from (
        select 1 from jobs where account_id = $1 and place is not null and priority <= $2 limit 1000) as before`,
    values: [accountId, priority],
  });
  return rows[0]?.ahead ?? 0;
}
