// The ledger's verbs: each moves credits of an account's lots from one bucket to another, and says so in one row.
// They change the account in memory; post.ts writes everything down. See README.md beside this file for the invariants.
import { newId } from '../domain/ids.ts';

export type Bucket =
  | 'source'
  | 'available'
  | 'held'
  | 'operator'
  | 'captured'
  | 'expired'
  | 'clawed_back'
  | 'refunded'
  | 'overrun';

export interface Line {
  /** Null: the operator's side. */
  lotId: string | null;
  from: Bucket;
  to: Bucket;
  amount: bigint;
}

export type PostingType = 'hold' | 'capture' | 'release' | 'grant' | 'expire' | 'adjust';

export interface Posting {
  accountId: string;
  sequence: bigint;
  id: string;
  type: PostingType;
  jobId: string | null;
  amount: bigint;
  balanceAfter: bigint;
  reason: string | null;
  actor: string | null;
  lines: Line[];
}

/** The part of an account that the ledger moves. */
export interface Balance {
  id: string;
  available: bigint;
  held: bigint;
  ledgerSequence: bigint;
}

/** An amount of one lot. */
export interface Take {
  lotId: string;
  amount: bigint;
}

export function postHold(account: Balance, jobId: string, takes: readonly Take[]): Posting {
  return post(account, { type: 'hold', jobId, lines: lines(takes, 'available', 'held') });
}

/** What is kept of a hold. `overrun` is the vendor's bill beyond it, which is the operator's. */
export function postCapture(
  account: Balance,
  jobId: string,
  { takes, overrun }: { takes: readonly Take[]; overrun: bigint },
): Posting {
  const kept = lines(takes, 'held', 'captured');
  const beyond: Line[] =
    overrun > 0n ? [{ lotId: null, from: 'operator', to: 'overrun', amount: overrun }] : [];
  return post(account, { type: 'capture', jobId, lines: [...kept, ...beyond] });
}

export function postRelease(account: Balance, jobId: string, takes: readonly Take[]): Posting {
  return post(account, { type: 'release', jobId, lines: lines(takes, 'held', 'available') });
}

/** What lapses: of an expired lot, or (with the job) of a release that went back to one. */
export function postExpire(account: Balance, takes: readonly Take[], jobId: string | null = null): Posting {
  return post(account, {
    type: 'expire',
    jobId,
    lines: lines(takes, 'available', 'expired'),
    reason: 'expired',
  });
}

export function postGrant(account: Balance, take: Take, why: { reason: string; actor: string }): Posting {
  return post(account, { type: 'grant', jobId: null, lines: lines([take], 'source', 'available'), ...why });
}

/** Splits a hold's takes into what is kept (in the order it was taken) and what goes back. */
export function splitTakes(takes: readonly Take[], kept: bigint): { capture: Take[]; release: Take[] } {
  const capture: Take[] = [];
  const release: Take[] = [];
  let left = kept;
  for (const { lotId, amount } of takes) {
    const keep = amount < left ? amount : left;
    left -= keep;
    if (keep > 0n) capture.push({ lotId, amount: keep });
    if (amount > keep) release.push({ lotId, amount: amount - keep });
  }
  if (left > 0n) throw new Error('a capture goes beyond its hold');
  return { capture, release };
}

type Draft = Pick<Posting, 'type' | 'jobId' | 'lines'> & { reason?: string; actor?: string };

function post(account: Balance, { type, jobId, lines, reason, actor }: Draft): Posting {
  const own = lines.filter((line) => line.lotId !== null);
  for (const { from, to, amount } of own) {
    if (from === 'available') account.available -= amount;
    if (from === 'held') account.held -= amount;
    if (to === 'available') account.available += amount;
    if (to === 'held') account.held += amount;
  }
  account.ledgerSequence += 1n;
  return {
    accountId: account.id,
    sequence: account.ledgerSequence,
    id: newId('tx'),
    type,
    jobId,
    amount: own.reduce((sum, line) => sum + line.amount, 0n),
    balanceAfter: account.available,
    reason: reason ?? null,
    actor: actor ?? null,
    lines,
  };
}

function lines(takes: readonly Take[], from: Bucket, to: Bucket): Line[] {
  return takes.filter(({ amount }) => amount > 0n).map(({ lotId, amount }) => ({ lotId, from, to, amount }));
}
