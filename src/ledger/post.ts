import type { Tx } from '../db/pool.ts';
import { inserter, rowset } from '../db/rowset.ts';
import type { Line, Posting } from './posting.ts';

const headers = inserter<Posting & { at: Date }>('ledger_transactions', {
  account_id: ['text', (p) => p.accountId],
  sequence: ['bigint', (p) => p.sequence],
  id: ['text', (p) => p.id],
  type: ['text', (p) => p.type],
  job_id: ['text', (p) => p.jobId],
  amount: ['bigint', (p) => p.amount],
  balance_after: ['bigint', (p) => p.balanceAfter],
  reason: ['text', (p) => p.reason],
  actor: ['text', (p) => p.actor],
  created_at: ['timestamptz', (p) => p.at],
});

type Numbered = Line & { accountId: string; sequence: bigint; line: number };

const lines = inserter<Numbered>('ledger_lines', {
  account_id: ['text', (l) => l.accountId],
  sequence: ['bigint', (l) => l.sequence],
  line: ['smallint', (l) => l.line],
  lot_id: ['text', (l) => l.lotId],
  from_bucket: ['text', (l) => l.from],
  to_bucket: ['text', (l) => l.to],
  amount: ['bigint', (l) => l.amount],
});

interface LotChange {
  accountId: string;
  lotId: string;
  remaining: bigint;
  held: bigint;
}

const changes = rowset<LotChange>({
  account_id: ['text', (c) => c.accountId],
  id: ['text', (c) => c.lotId],
  remaining: ['bigint', (c) => c.remaining],
  held: ['bigint', (c) => c.held],
});

/**
 * Writes postings down: headers, lines, and what they do to the lots. The accounts they belong to are locked by the
 * caller, who writes the balances back. A second posting of one kind for one job breaks the unique index, and with it
 * the transaction.
 */
export function writePostings(tx: Tx, postings: readonly Posting[], at: Date): void {
  if (postings.length === 0) return;
  const numbered = postings.flatMap(({ accountId, sequence, lines }) =>
    lines.map((line, i) => ({ ...line, accountId, sequence, line: i })),
  );
  const moved = lotChanges(numbered);
  if (moved.length > 0) {
    tx.send({
      name: 'ledger-lots',
      text: `update lots l set remaining = l.remaining + r.remaining, held = l.held + r.held
        from ${changes.sql} where l.account_id = r.account_id and l.id = r.id`,
      values: changes.values(moved),
    });
  }
  tx.send({
    name: 'ledger-headers',
    text: headers.text,
    values: headers.values(postings.map((p) => ({ ...p, at }))),
  });
  tx.send({ name: 'ledger-lines', text: lines.text, values: lines.values(numbered) });
}

function lotChanges(lines: readonly Numbered[]): LotChange[] {
  const byLot = new Map<string, LotChange>();
  for (const { accountId, lotId, from, to, amount } of lines) {
    // A grant's lot is inserted with its credits already in it.
    if (lotId === null || from === 'source') continue;
    const change = byLot.get(lotId) ?? { accountId, lotId, remaining: 0n, held: 0n };
    if (from === 'available') change.remaining -= amount;
    if (from === 'held') change.held -= amount;
    if (to === 'available') change.remaining += amount;
    if (to === 'held') change.held += amount;
    byLot.set(lotId, change);
  }
  return [...byLot.values()].filter((change) => change.remaining !== 0n || change.held !== 0n);
}
