// An account under audit, and how far back it is looked at.
import { type AuditedAccount, isAhead } from '../ledger/audit-books.ts';
import type { Checkpoint } from '../ledger/audit-checkpoints.ts';
import { BOTTOM, type Span } from '../ledger/audit-spans.ts';

export interface Subject extends AuditedAccount {
  /** Null: all of it. */
  since: Checkpoint | null;
  entries: Span;
  events: Span;
}

export function subjectOf(book: AuditedAccount, from: 'nothing' | 'checkpoints'): Subject {
  const { id, checkpoint, firstEvent } = book;
  const blank = !checkpoint || (checkpoint.ledgerSequence === 0n && checkpoint.eventSequence === 0n);
  const since = from === 'nothing' || blank || isAhead(book) ? null : checkpoint;
  // What was not kept, perhaps all, is not looked for; and numbers below 1 show as rows too few or too many.
  const eventsBefore = firstEvent === null ? 0n : largest(firstEvent - 1n, -1n);
  return {
    ...book,
    since,
    // Where the counter is wrong, which is noted already, it must not send us after numbers that nobody gave out.
    entries: {
      accountId: id,
      after: since?.ledgerSequence ?? BOTTOM,
      upto: least(book.ledgerSequence, book.lastEntry),
    },
    events: {
      accountId: id,
      after: largest(since?.eventSequence ?? eventsBefore, eventsBefore),
      upto: least(book.eventSequence, book.lastEvent),
    },
  };
}

const largest = (a: bigint, b: bigint): bigint => (a > b ? a : b);

function least(counter: bigint, last: bigint | null): bigint {
  if (last === null) return 0n;
  return counter < last ? counter : last;
}

/** Of an account of which nothing is new, in rows. */
export const LEAST_COST = 10;

/** What an account costs to look at, in rows. */
export function costOf({ since, entries, events, open, lots }: Subject): number {
  const first = since?.ledgerSequence ?? 0n;
  const lengths = [entries.upto - first, events.upto - events.after].map((length) => largest(length, 0n));
  return lengths.reduce((sum, length) => sum + Number(length), LEAST_COST + open + lots.size);
}
