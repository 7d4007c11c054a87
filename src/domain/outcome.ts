// What an attempt came to, and what that makes of its job. Pure; flow/settle.ts reads the job under its account's lock
// and writes down the verdict.
import type { FinalStatus, JobErrorCode, Kind, UsageLine } from './job.ts';
import { type PriceLine, priceOf } from './pricing.ts';

/** Why we ended a call ourselves. */
export type StopReason = 'cancel' | 'deadline';

/** The end of one attempt, as its worker (or the sweep, for a dead one) reports it. */
export type Outcome =
  | { type: 'succeeded'; /** JSON text of `job.output`. */ output: string; usage: UsageLine[] }
  | {
      type: 'failed';
      code: JobErrorCode;
      message: string;
      retryable: boolean;
      retryAfterMs: number | null;
      /** The request was sent and its answer lost: repeated once at most. */
      ambiguous: boolean;
      /** No connection, so nothing of it reached the vendor. */
      unsent?: boolean;
      /** The vendor refuses the platform itself: an attempt more brings nothing, a request after the operator's mending does. */
      oursToMend?: boolean;
      /** What the vendor bills all the same, where it is known. */
      billed: UsageLine[] | null;
    }
  | {
      type: 'stopped';
      reason: StopReason;
      /** JSON text of what had come by then (chat), else null. */
      output: string | null;
      /** Used up to the stop; empty where the provider confirmed that nothing is billed. */
      usage: UsageLine[];
    }
  | {
      type: 'interrupted';
      /** Of a chat whose call had begun: what it had said by then. Paid only if its client had asked for its stop. */
      used: { output: string; usage: UsageLine[] } | null;
    };

/** The job as its row shows it under the lock. */
export interface Settling {
  kind: Kind;
  hold: bigint;
  price: readonly PriceLine[];
  failures: number;
  /** On so many routes it may be tried, one after the other. */
  routes: number;
  interruptions: number;
  ambiguous: number;
  deadline: Date;
  deadlineNamed: boolean;
  cancelRequested: 'client' | 'operator' | 'suspension' | null;
  /** What the content policy refuses is charged: so its model's data said when it was admitted. */
  chargeRefused: boolean;
}

export interface JobError {
  code: JobErrorCode;
  message: string;
  retryable: boolean;
  details: Record<string, unknown>;
}

/** `waste`: usage that the vendor bills and nobody pays. */
export type Verdict =
  | {
      type: 'end';
      status: FinalStatus;
      cost: bigint;
      /** What the vendor's usage would have cost beyond the hold. */
      overrun: bigint;
      output: string | null;
      usage: UsageLine[] | null;
      error: JobError | null;
      waste: UsageLine[] | null;
    }
  | {
      type: 'again';
      counts: 'failure' | 'interruption';
      ambiguous: boolean;
      waitMs: number;
      waste: UsageLine[] | null;
    };

export const MAX_ATTEMPTS = 3;
export const MAX_INTERRUPTIONS = 10;
const MAX_AMBIGUOUS = 2;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 30_000;
/** A vendor that takes no connections restarts: the waits together last for longer than that mostly takes. */
const AWAY_FIRST_MS = 6_000;
const AWAY_NEXT_MS = 30_000;

/** `random` is in [0, 1): full jitter. */
export function conclude(
  job: Settling,
  outcome: Outcome,
  { now, random }: { now: Date; random: number },
): Verdict {
  switch (outcome.type) {
    case 'succeeded':
      return end('succeeded', {
        ...charge(job, outcome.usage),
        output: outcome.output,
        usage: outcome.usage,
      });
    case 'stopped':
      return stopped(job, outcome);
    case 'interrupted':
      return interrupted(job, outcome, now);
    case 'failed':
      return failed(job, outcome, { now, random });
  }
}

/** The price of what was used, never above the hold; the rest is the operator's. */
function charge(job: Settling, usage: UsageLine[]): { cost: bigint; overrun: bigint } {
  const price = priceOf(job.price, usage);
  return price > job.hold ? { cost: job.hold, overrun: price - job.hold } : { cost: price, overrun: 0n };
}

function stopped(job: Settling, outcome: Outcome & { type: 'stopped' }): Verdict {
  const { reason, output, usage } = outcome;
  // Only the client pays for what the client ended: its own cancel, its own deadline. The rest is the operator's cost.
  const own = reason === 'cancel' ? job.cancelRequested === 'client' : job.deadlineNamed;
  const paid = own ? { ...charge(job, usage), output, usage } : { output, waste: usage };
  if (reason === 'cancel') return end('canceled', paid);
  return end('expired', {
    ...paid,
    error: failure('deadline_exceeded', 'The job did not end by its deadline.', false),
  });
}

function interrupted(job: Settling, { used }: Outcome & { type: 'interrupted' }, now: Date): Verdict {
  // A job whose stop was asked is never run again; that its worker went first does not make it free.
  if (job.cancelRequested)
    return used ? stopped(job, { type: 'stopped', reason: 'cancel', ...used }) : end('canceled', {});
  const waste = used && used.usage;
  if (job.deadline <= now) {
    const error = failure('deadline_exceeded', 'The job did not end by its deadline.', false);
    return end('expired', { error, waste });
  }
  if (job.interruptions + 1 >= MAX_INTERRUPTIONS) {
    const error = failure('internal', `The job was interrupted ${MAX_INTERRUPTIONS} times.`, true);
    return end('failed', { error, waste });
  }
  return { type: 'again', counts: 'interruption', ambiguous: false, waitMs: 0, waste };
}

function failed(
  job: Settling,
  outcome: Outcome & { type: 'failed' },
  at: { now: Date; random: number },
): Verdict {
  const error = failure(outcome.code, outcome.message, outcome.retryable, { attempts: job.failures + 1 });
  const waste = outcome.billed;
  // A job whose stop was asked is never run again.
  if (job.cancelRequested) return end('canceled', { waste });
  const spent = job.failures + 1 >= MAX_ATTEMPTS || (outcome.ambiguous && job.ambiguous + 1 >= MAX_AMBIGUOUS);
  if (outcome.code === 'content_refused' && job.chargeRefused && waste)
    return end('failed', { ...charge(job, waste), usage: waste, error });
  if (!outcome.retryable || outcome.oursToMend === true || spent) return end('failed', { error, waste });
  const leftMs = job.deadline.getTime() - at.now.getTime();
  const waitMs = Math.max(pause(job, outcome, { leftMs, random: at.random }), outcome.retryAfterMs ?? 0);
  if (waitMs >= leftMs) return end('failed', { error, waste });
  return { type: 'again', counts: 'failure', ambiguous: outcome.ambiguous, waitMs, waste };
}

/**
 * Longer where the vendor is away and there is no other, or our own storage is, unless that would be too late
 * (docs/decisions/0013).
 */
function pause(
  { failures, routes }: Settling,
  { unsent = false, code }: Outcome & { type: 'failed' },
  { leftMs, random }: { leftMs: number; random: number },
): number {
  const isAway = (unsent && failures + 1 >= routes) || code === 'storage_unavailable';
  const away = isAway ? awayMs(failures, random) : null;
  return away !== null && away < leftMs ? away : backoffMs(failures, random);
}

/** At least half of the ceiling: what comes back at once finds nobody there. */
export function awayMs(failures: number, random: number): number {
  return Math.round(((1 + random) / 2) * (failures === 0 ? AWAY_FIRST_MS : AWAY_NEXT_MS));
}

/** Full jitter over a doubling ceiling. */
export function backoffMs(failures: number, random: number): number {
  return Math.round(random * Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** failures));
}

function failure(
  code: JobErrorCode,
  message: string,
  retryable: boolean,
  details: Record<string, unknown> = {},
): JobError {
  return { code, message, retryable, details };
}

export type End = Verdict & { type: 'end' };

/** The end of a job that waits: it costs nothing. */
export function endWaiting(status: 'canceled' | 'expired'): End {
  return end(status, {
    error:
      status === 'expired'
        ? failure('deadline_exceeded', 'The job had not begun by its deadline.', true)
        : null,
  });
}

function end(status: FinalStatus, rest: Partial<Omit<End, 'type' | 'status'>>): End {
  return {
    type: 'end',
    status,
    cost: 0n,
    overrun: 0n,
    output: null,
    usage: null,
    error: null,
    waste: null,
    ...rest,
  };
}
