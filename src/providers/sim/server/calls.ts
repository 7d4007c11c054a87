// The simulator's own record of who called when: the oracle that tests hold the platform against. A call is open from the
// arrival of its head until its socket ends or its answer is handed to the kernel to the last byte.
import type { IncomingMessage } from 'node:http';
import type { Kind } from '../../../domain/job.ts';

/**
 * How a call ended: `ok`; `refused` (its request was wrong); `fault` (as asked); `accepted` (async); `gone` (the caller's socket
 * ended first); `stopped` (on request); `failed` (an error of the simulator's own).
 */
export type Outcome = 'ok' | 'refused' | 'fault' | 'accepted' | 'gone' | 'stopped' | 'failed';

export interface Identity {
  accountId: string | null;
  jobId: string | null;
  attempt: number | null;
}

export interface SimCall extends Identity {
  kind: Kind;
  /** Milliseconds of a monotonic clock, with fractions. */
  startedAt: number;
  endedAt: number | null;
  outcome: Outcome | null;
  /** Whether the simulator would charge for it. */
  billed: boolean;
}

/** Rows kept: the newest. */
const ROWS = 200_000;
export const MOST_LISTED = 10_000;

/** Who calls, by our own headers; else by the idempotency key, `<job>-<attempt>`, which every vendor gets. */
export function identityOf({ headers }: IncomingMessage): Identity {
  const accountId = header(headers['x-millrace-account']);
  const jobId = header(headers['x-millrace-job']);
  if (jobId !== null) return { accountId, jobId, attempt: positive(header(headers['x-millrace-attempt'])) };
  const key = header(headers['idempotency-key']);
  const dash = key?.lastIndexOf('-') ?? -1;
  const attempt = key && dash > 0 ? positive(key.slice(dash + 1)) : null;
  return key && attempt !== null
    ? { accountId, jobId: key.slice(0, dash), attempt }
    : { accountId, jobId: null, attempt: null };
}

const header = (value: string | string[] | undefined): string | null =>
  typeof value === 'string' && value !== '' ? value : null;

function positive(text: string | null): number | null {
  const value = Number(text);
  return text !== null && Number.isSafeInteger(value) && value > 0 ? value : null;
}

/** What names one attempt in the log, in the kept results and in what is asked to stop. Null for a call without a name. */
export const keyOf = ({ jobId, attempt }: Identity): string | null =>
  jobId === null || attempt === null ? null : `${jobId}-${attempt}`;

export class CallLog {
  readonly #rows: SimCall[] = [];
  /** Where the next row goes once the ring is full. */
  #next = 0;
  #open = 0;

  get open(): number {
    return this.#open;
  }

  start(identity: Identity, kind: Kind): SimCall {
    const call = {
      ...identity,
      kind,
      startedAt: performance.now(),
      endedAt: null,
      outcome: null,
      billed: false,
    };
    this.#open++;
    if (this.#rows.length < ROWS) this.#rows.push(call);
    else this.#rows[this.#next] = call;
    this.#next = (this.#next + 1) % ROWS;
    return call;
  }

  /** False if it had ended before: the first end is the one that counts. */
  end(call: SimCall, outcome: Outcome): boolean {
    if (call.endedAt !== null) return false;
    call.endedAt = performance.now();
    call.outcome = outcome;
    this.#open--;
    return true;
  }

  /** The last `limit` calls, newest last, as the control API shows them. */
  recent(limit: number): object[] {
    const full = this.#rows.length === ROWS;
    const count = Math.min(limit, this.#rows.length, MOST_LISTED);
    const end = full ? this.#next + ROWS : this.#rows.length;
    return Array.from({ length: count }, (_, i) => shown(this.#rows[(end - count + i) % ROWS]!));
  }
}

function shown(call: SimCall): object {
  return {
    job_id: call.jobId,
    account_id: call.accountId,
    attempt: call.attempt,
    started_at: instant(call.startedAt),
    ended_at: call.endedAt === null ? null : instant(call.endedAt),
    kind: call.kind,
    outcome: call.outcome,
    billed: call.billed,
    started_ns: nanoseconds(call.startedAt),
    ended_ns: call.endedAt === null ? null : nanoseconds(call.endedAt),
  };
}

const instant = (at: number): string => new Date(performance.timeOrigin + at).toISOString();
const nanoseconds = (at: number): string => String(Math.round(at * 1e6));
