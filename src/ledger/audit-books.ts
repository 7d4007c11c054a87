// What accounts say of themselves, in one snapshot: balances, lots, the last numbers given out, and the checkpoint that
// an audit may start from. What the numbers name is never changed again, so it may be read in peace afterwards.
import type { Pool } from '../db/pool.ts';
import { transaction } from '../db/transaction.ts';
import { type Checkpoint, type LotSums, readCheckpoints } from './audit-checkpoints.ts';
import type { Breach, Findings } from './audit-findings.ts';

export interface AuditedAccount {
  id: string;
  available: bigint;
  held: bigint;
  ledgerSequence: bigint;
  eventSequence: bigint;
  /** The numbers of the last entry, of the last line, and of the first and last event that are kept. */
  lastEntry: bigint | null;
  lastLine: bigint | null;
  firstEvent: bigint | null;
  lastEvent: bigint | null;
  /** Jobs that wait, or are in the queue or at a worker. */
  open: number;
  lots: Map<string, LotSums>;
  checkpoint: Checkpoint | null;
  /** When this was so. */
  at: Date;
}

interface LotRow {
  account_id: string;
  id: string;
  granted: bigint;
  remaining: bigint;
  held: bigint;
}

/**
 * Reads the books of accounts, and judges what only a snapshot can: that an account's counters are those of its rows.
 */
export async function openBooks(
  pool: Pool,
  accountIds: readonly string[],
  findings: Findings,
): Promise<AuditedAccount[]> {
  return transaction(pool, async (tx) => {
    tx.send({ text: 'set transaction isolation level repeatable read read only' });
    const [accounts, lots, checkpoints, slots] = await Promise.all([
      tx.query<Omit<AuditedAccount, 'lots' | 'checkpoint'>>(ACCOUNTS, [accountIds]),
      tx.query<LotRow>(
        'select account_id, id, granted, remaining, held from lots where account_id = any($1) order by account_id, id',
        [accountIds],
      ),
      readCheckpoints(tx, accountIds),
      tx.query<Breach>(SLOTS, [accountIds]),
    ]);
    const books = accounts.rows.map((account) => ({
      ...account,
      lots: new Map<string, LotSums>(),
      checkpoint: checkpoints.get(account.id) ?? null,
    }));
    const byId = new Map(books.map((book) => [book.id, book]));
    for (const { account_id, id, granted, remaining, held } of lots.rows)
      byId.get(account_id)?.lots.set(id, [granted, remaining, held]);
    findings.looked('I1', accounts.rows.length + lots.rows.length);
    findings.looked('I4', accounts.rows.length);
    findings.found(slots.rows);
    findings.found(books.flatMap(wrongNumbers));
    return books;
  });
}

const ACCOUNTS = `select a.id, a.available, a.held, a.ledger_sequence as "ledgerSequence", a.event_sequence as "eventSequence",
    (select max(sequence) from ledger_transactions t where t.account_id = a.id) as "lastEntry",
    (select max(sequence) from ledger_lines l where l.account_id = a.id) as "lastLine",
    (select min(sequence) from events e where e.account_id = a.id) as "firstEvent",
    (select max(sequence) from events e where e.account_id = a.id) as "lastEvent",
    (a.line_waiting + bit_count(a.busy_slots))::integer as open, (select millrace_now()) as at
  from accounts a where a.id = any($1) order by a.id`;

const SLOTS = `select 'I4' as invariant, a.id as account_id, a.id as subject, format('account: %s slots in use and %s in line; its jobs say %s and %s',
      bit_count(a.busy_slots), a.line_waiting, coalesce(j.slots, 0), coalesce(j.waiting, 0)) as what
    from accounts a left join (select account_id, count(slot) as slots, count(place) as waiting
        from jobs where account_id = any($1) and (slot is not null or place is not null) group by 1) j on j.account_id = a.id
    where a.id = any($1) and (bit_count(a.busy_slots) <> coalesce(j.slots, 0) or a.line_waiting <> coalesce(j.waiting, 0))
  union all
  select 'I4', j.account_id, j.id, format('job: holds slot %s, which its account counts as free', j.slot)
    from jobs j join accounts a on a.id = j.account_id where j.account_id = any($1) and j.slot is not null
      and case when octet_length(a.busy_slots) * 8 >= j.slot then get_bit(a.busy_slots, j.slot - 1) else 0 end = 0`;

function wrongNumbers(book: AuditedAccount): Breach[] {
  const { id, ledgerSequence, eventSequence, lastEntry, lastLine, lastEvent, checkpoint } = book;
  const wrong = (invariant: 'I1' | 'I4', what: string): Breach => ({
    invariant,
    account_id: id,
    subject: id,
    what,
  });
  const breaches: Breach[] = [];
  if (ledgerSequence !== (lastEntry ?? 0n))
    breaches.push(wrong('I1', `account: ledger number ${ledgerSequence}, last entry ${lastEntry ?? 0n}`));
  if ((lastLine ?? 0n) > ledgerSequence)
    breaches.push(wrong('I1', `account: ledger number ${ledgerSequence}, last line of ${lastLine}`));
  // Events older than 31 days are gone, perhaps all.
  if (lastEvent !== null && lastEvent !== eventSequence)
    breaches.push(wrong('I4', `account: event number ${eventSequence}, last event ${lastEvent}`));
  if (isAhead(book))
    breaches.push(
      wrong(
        'I1',
        `account: ledger number ${ledgerSequence} and event number ${eventSequence}, but an audit has seen ${checkpoint?.ledgerSequence} and ${checkpoint?.eventSequence}`,
      ),
    );
  return breaches;
}

/** Numbers never go back: what was there is gone. */
export function isAhead({ checkpoint, ledgerSequence, eventSequence }: AuditedAccount): boolean {
  return (
    checkpoint !== null &&
    (checkpoint.ledgerSequence > ledgerSequence || checkpoint.eventSequence > eventSequence)
  );
}

/** I1, at the end: what the account and its lots say against what all entries say. */
export function compareBooks(book: AuditedAccount, sums: ReadonlyMap<string, LotSums>): Breach[] {
  const breaches: Breach[] = [];
  const wrong = (subject: string, what: string): void => {
    breaches.push({ invariant: 'I1', account_id: book.id, subject, what });
  };
  const total: LotSums = [0n, 0n, 0n];
  for (const id of new Set([...book.lots.keys(), ...sums.keys()])) {
    const said = sums.get(id) ?? [0n, 0n, 0n];
    for (const i of [0, 1, 2] as const) total[i] += said[i];
    const is = book.lots.get(id);
    if (!is) wrong(id, 'lot: has entries and is not there');
    else if (is.some((amount, i) => amount !== said[i]))
      wrong(id, `lot: granted, remaining, held ${is.join(', ')}; its entries say ${said.join(', ')}`);
  }
  const [, available, held] = total;
  if (book.available !== available || book.held !== held)
    wrong(
      book.id,
      `account: available ${book.available}, held ${book.held}; its entries say ${available}, ${held}`,
    );
  return breaches;
}
