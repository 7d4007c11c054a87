import type { Db, Tx } from '../db/pool.ts';
import { rowset } from '../db/rowset.ts';
import type { PlanOverrides } from '../domain/plan.ts';
import type { Standing } from '../domain/standing.ts';
import type { SlotSet } from '../domain/slots.ts';

/** An account as its locked row shows it. The flows change it in memory and write it back before they commit. */
export interface Account {
  id: string;
  status: Standing['status'];
  statusSince: Date;
  livemode: boolean;
  planId: string;
  overrides: PlanOverrides;
  available: bigint;
  held: bigint;
  debt: bigint;
  busySlots: SlotSet;
  lineWaiting: number;
  eventSequence: bigint;
  ledgerSequence: bigint;
}

const COLUMNS = `id, status, status_since as "statusSince", livemode, plan_id as "planId", overrides, available, held, debt, busy_slots as "busySlots",
  line_waiting as "lineWaiting", event_sequence as "eventSequence", ledger_sequence as "ledgerSequence"`;

/**
 * Locks accounts, always first and always by id, so that no two lists wait for each other. `no key update`, because a
 * stronger lock would stop every insert of a row that refers to the account. What else is read under the lock must be
 * read by a later statement: this one's snapshot may be older than the lock.
 */
export async function lockAccounts(tx: Db, ids: Iterable<string>): Promise<Map<string, Account>> {
  const { rows } = await tx.query<Account>({
    name: 'lock-accounts',
    text: `select ${COLUMNS} from accounts where id = any($1) order by id for no key update`,
    values: [[...new Set(ids)]],
  });
  return new Map(rows.map((account) => [account.id, account]));
}

export async function findAccount(db: Db, id: string): Promise<Account | null> {
  const { rows } = await db.query<Account>(`select ${COLUMNS} from accounts where id = $1`, [id]);
  return rows[0] ?? null;
}

/** What decides on an account's terms, and the instant of asking. @throws if there is no such account */
export async function planOf(
  db: Db,
  id: string,
): Promise<Pick<Account, 'planId' | 'overrides'> & { now: Date }> {
  const { rows } = await db.query<Pick<Account, 'planId' | 'overrides'> & { now: Date }>({
    name: 'plan-of',
    text: 'select plan_id as "planId", overrides, (select millrace_now()) as now from accounts where id = $1',
    values: [id],
  });
  if (!rows[0]) throw new Error(`there is no account ${id}`);
  return rows[0];
}

export async function findAccounts(db: Db, ids: readonly string[]): Promise<Account[]> {
  if (ids.length === 0) return [];
  const { rows } = await db.query<Account>(`select ${COLUMNS} from accounts where id = any($1)`, [ids]);
  return rows;
}

/** Changes what is given; `null` leaves as it is, but an override that is null goes. Locks the row. */
export function changeTerms(
  tx: Tx,
  {
    id,
    plan,
    status,
    overrides,
  }: { id: string; plan: string | null; status: Account['status'] | null; overrides: object | null },
): void {
  tx.send({
    text: `update accounts set plan_id = coalesce($2, plan_id), status = coalesce($3, status), 
        overrides = jsonb_strip_nulls(overrides || coalesce($4, '{}')::jsonb),
        status_since = case when coalesce($3, status) = status then status_since else millrace_now() end where id = $1`,
    values: [id, plan, status, overrides && JSON.stringify(overrides)],
  });
}

const written = rowset<Account>({
  id: ['text', (a) => a.id],
  available: ['bigint', (a) => a.available],
  held: ['bigint', (a) => a.held],
  debt: ['bigint', (a) => a.debt],
  busy_slots: ['bytea', (a) => a.busySlots],
  line_waiting: ['integer', (a) => a.lineWaiting],
  event_sequence: ['bigint', (a) => a.eventSequence],
  ledger_sequence: ['bigint', (a) => a.ledgerSequence],
});

/** Writes back accounts that this transaction has locked. */
export function writeAccounts(tx: Tx, accounts: Iterable<Account>): void {
  tx.send({
    name: 'write-accounts',
    text: `update accounts a set available = r.available, held = r.held, debt = r.debt, busy_slots = r.busy_slots,
        line_waiting = r.line_waiting, event_sequence = r.event_sequence, ledger_sequence = r.ledger_sequence
      from ${written.sql} where a.id = r.id`,
    values: written.values([...accounts]),
  });
}
