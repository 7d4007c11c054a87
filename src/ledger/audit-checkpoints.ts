// Up to where an account was found right. Audits may run at the same time: what one writes rests on the checkpoint it
// began with, so it is written only where that one still stands.
import type { Db } from '../db/pool.ts';
import { rowset } from '../db/rowset.ts';

/** Of a lot: granted, remaining, held. */
export type LotSums = [granted: bigint, remaining: bigint, held: bigint];

export interface Checkpoint {
  ledgerSequence: bigint;
  eventSequence: bigint;
  lots: Map<string, LotSums>;
  at: Date;
  /** Which version of the row this is. */
  version: string;
}

interface Row extends Omit<Checkpoint, 'lots'> {
  accountId: string;
  lots: Record<string, [string, string, string]>;
}

export async function readCheckpoints(
  db: Db,
  accountIds: readonly string[],
): Promise<Map<string, Checkpoint>> {
  const { rows } = await db.query<Row>(
    `select account_id as "accountId", ledger_sequence as "ledgerSequence", event_sequence as "eventSequence", lots,
        checked_at as at, xmin::text as version
      from audit_checkpoints where account_id = any($1)`,
    [accountIds],
  );
  return new Map(
    rows.map(({ accountId, lots, ...rest }) => {
      const sums = Object.entries(lots).map(([id, sum]) => [id, sum.map(BigInt) as LotSums] as const);
      return [accountId, { ...rest, lots: new Map(sums) }];
    }),
  );
}

export interface NewCheckpoint extends Omit<Checkpoint, 'version' | 'lots'> {
  accountId: string;
  lots: ReadonlyMap<string, LotSums>;
  /** The version it takes the place of; null: there was none. */
  instead: string | null;
}

const written = rowset<NewCheckpoint>({
  account_id: ['text', (c) => c.accountId],
  ledger_sequence: ['bigint', (c) => c.ledgerSequence],
  event_sequence: ['bigint', (c) => c.eventSequence],
  lots: ['text', (c) => JSON.stringify(Object.fromEntries(texts(c.lots)))],
  checked_at: ['timestamptz', (c) => c.at],
  instead: ['text', (c) => c.instead],
});

const texts = (lots: ReadonlyMap<string, LotSums>) =>
  [...lots].map(([id, sums]) => [id, sums.map(String)] as const);

/** An account that another audit has written of meanwhile is left as that one says. May be done twice. */
export async function saveCheckpoints(db: Db, checkpoints: readonly NewCheckpoint[]): Promise<void> {
  if (checkpoints.length === 0) return;
  const values = written.values(checkpoints);
  await db.query(
    `update audit_checkpoints c set ledger_sequence = r.ledger_sequence, event_sequence = r.event_sequence,
        lots = r.lots::jsonb, checked_at = r.checked_at
      from ${written.sql} where c.account_id = r.account_id and c.xmin::text = r.instead`,
    values,
  );
  await db.query(
    `insert into audit_checkpoints (account_id, ledger_sequence, event_sequence, lots, checked_at)
      select account_id, ledger_sequence, event_sequence, lots::jsonb, checked_at from ${written.sql}
        where instead is null order by account_id
      on conflict do nothing`,
    values,
  );
}

/**
 * Of accounts in which something is wrong that a checkpoint may have hidden: every audit looks at all of them again until
 * one finds them right. An audit that is under way cannot put its checkpoint back.
 */
export async function forgetCheckpoints(db: Db, accountIds: readonly string[]): Promise<void> {
  if (accountIds.length === 0) return;
  await db.query(
    `insert into audit_checkpoints (account_id, ledger_sequence, event_sequence, lots, checked_at)
      select id, 0, 0, '{}', millrace_now() from accounts where id = any($1) order by id
      on conflict (account_id) do update set ledger_sequence = 0, event_sequence = 0, lots = '{}',
        checked_at = excluded.checked_at`,
    [accountIds],
  );
}
