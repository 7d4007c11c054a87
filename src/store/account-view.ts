import type { Db } from '../db/pool.ts';
import type { SlotSet } from '../domain/slots.ts';

export interface AccountView {
  id: string;
  name: string;
  email: string | null;
  status: string;
  livemode: boolean;
  available: bigint;
  held: bigint;
  busySlots: SlotSet;
  lineWaiting: number;
  lots: {
    id: string;
    source: string;
    remaining: bigint;
    held: bigint;
    expires_at: Date | null;
    refundable: boolean;
  }[];
}

/** The account as its owner sees it: spent and lapsed lots are left out. */
export async function accountWithLots(db: Db, accountId: string): Promise<AccountView | null> {
  const { rows } = await db.query<Omit<AccountView, 'lots'>>(
    `select id, name, email, status, livemode, available, held, busy_slots as "busySlots", line_waiting as "lineWaiting"
      from accounts where id = $1`,
    [accountId],
  );
  const account = rows[0];
  if (!account) return null;
  const lots = await db.query<AccountView['lots'][number]>(
    `select id, source, remaining, held, expires_at, refundable from lots where account_id = $1 and (remaining > 0 or held > 0)
      order by expires_at nulls last, id`,
    [accountId],
  );
  return { ...account, lots: lots.rows };
}
