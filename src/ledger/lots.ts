import type { Db } from '../db/pool.ts';

/** An account's lot that still has credits to give. */
export interface Lot {
  id: string;
  accountId: string;
  remaining: bigint;
  tag: string | null;
}

/** The lots that holds may take from, soonest to lapse first. Read under the accounts' locks. */
export async function openLots(
  tx: Db,
  accountIds: readonly string[],
): Promise<{ now: Date; lots: Map<string, Lot[]> }> {
  const { rows } = await tx.query<Lot & { now: Date }>({
    name: 'open-lots',
    text: `with clock as materialized (select millrace_now() as now)
      select clock.now, l.id, l.account_id as "accountId", l.remaining, l.tag
      from clock left join lots l on l.account_id = any($1) and l.remaining > 0
        and (l.expires_at is null or l.expires_at > clock.now)
      order by l.account_id, l.expires_at nulls last, l.id`,
    values: [accountIds],
  });
  const lots = new Map<string, Lot[]>();
  for (const row of rows) {
    if (row.id === null) continue;
    const list = lots.get(row.accountId);
    if (list) list.push(row);
    else lots.set(row.accountId, [row]);
  }
  const now = rows[0]?.now;
  if (!now) throw new Error('the database has no clock');
  return { now, lots };
}

/** A job's hold by lot, in the order it was taken, and whether each lot has lapsed since. */
export interface HeldTake {
  jobId: string;
  lotId: string;
  amount: bigint;
  lapsed: boolean;
}

/** Read under the accounts' locks; `now` is the database's time at that moment. */
export async function heldTakes(
  tx: Db,
  jobIds: readonly string[],
): Promise<{ now: Date; takes: Map<string, HeldTake[]> }> {
  const { rows } = await tx.query<HeldTake & { now: Date }>({
    name: 'held-takes',
    text: `with clock as materialized (select millrace_now() as now)
      select clock.now, t.job_id as "jobId", l.lot_id as "lotId", l.amount, coalesce(o.expires_at <= clock.now, false) as lapsed
      from clock left join (ledger_transactions t
          join ledger_lines l on l.account_id = t.account_id and l.sequence = t.sequence
          join lots o on o.account_id = l.account_id and o.id = l.lot_id)
        on t.job_id = any($1) and t.type = 'hold' order by t.job_id, l.line`,
    values: [jobIds],
  });
  const takes = new Map<string, HeldTake[]>();
  for (const row of rows) {
    if (row.jobId === null) continue;
    const list = takes.get(row.jobId);
    if (list) list.push(row);
    else takes.set(row.jobId, [row]);
  }
  const now = rows[0]?.now;
  if (!now) throw new Error('the database has no clock');
  return { now, takes };
}
