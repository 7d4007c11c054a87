// From an exchange that brought no usable answer to the value that the worker acts on (contract 19).
import type { IncomingHttpHeaders } from 'node:http';
import type { JobErrorCode, UsageLine } from '../domain/job.ts';
import { type Ended, evidenceOf } from './exchange.ts';
import type { CallResult } from './provider.ts';
import { type Secrets, type VendorError, vendorError } from './vendor-error.ts';

/** A longer pause is asked for by nobody in earnest; a deadline is at most this far away. */
const MOST_PAUSE_MS = 86_400_000;

export interface Failure {
  code: JobErrorCode;
  retryable: boolean;
  message: string;
  note?: string | null;
  billed?: UsageLine[] | null;
  retryAfterMs?: number | null;
  oursToMend?: boolean;
  over?: boolean | undefined;
}

export const TOO_LATE: Failure = {
  code: 'provider_timeout',
  retryable: true,
  message: 'The provider took too long to answer.',
};

/** Final: the same request would bring as much again. */
export const TOO_LARGE: Failure = {
  code: 'output_too_large',
  retryable: false,
  message: "The provider's answer is larger than a job may return.",
};

/** What was to be sent could not be read from storage. */
export const NOT_READ: Failure = {
  code: 'storage_unavailable',
  retryable: true,
  message: 'The artifact of the input could not be read.',
};

/** Of work that was submitted and is polled for. */
export const CANCELED: Failure = {
  code: 'provider_unavailable',
  retryable: true,
  message: 'The provider canceled the work.',
  over: true,
};
export const FORGOTTEN: Failure = {
  code: 'provider_unavailable',
  retryable: true,
  message: 'The provider knows nothing of the work any more.',
};

export function failed(
  ended: Ended,
  { code, retryable, message, note, billed, retryAfterMs, oursToMend, over }: Failure,
): CallResult {
  return {
    type: 'failed',
    code,
    retryable,
    message,
    retryAfterMs: retryAfterMs ?? null,
    billed: billed ?? null,
    ...(oursToMend === true && { oursToMend }),
    ...(over === true && { over }),
    evidence: evidenceOf(ended, note ?? null),
  };
}

/** Null: a success, complete, whose body is still to be understood. `stopped` is for the caller to answer. */
export function failureOf(ended: Ended, secrets: Secrets): CallResult | null {
  const { how, sent, head } = ended;
  if (how === 'timeout') return failed(ended, TOO_LATE);
  if (how === 'too_large') return failed(ended, TOO_LARGE);
  if (head && head.status >= 300) return refusal(ended, head.status, secrets);
  if (how !== 'lost') return null;
  if (!sent)
    return failed(ended, {
      code: 'provider_unavailable',
      retryable: true,
      message: 'The provider could not be reached.',
    });
  if (!head)
    return {
      type: 'ambiguous',
      message: 'The connection was lost after the request was sent.',
      evidence: evidenceOf(ended),
    };
  return failed(ended, {
    code: 'provider_unavailable',
    retryable: true,
    message: "The provider's answer was cut off.",
  });
}

function refusal(ended: Ended, status: number, secrets: Secrets): CallResult {
  const said = vendorError(parsed(ended.body), secrets);
  return failed(ended, { ...byStatus(status, said), retryAfterMs: retryAfterMs(ended.head!.headers) });
}

/** How a status is taken: by contract 19 what passes with time is repeated, everything else is final. */
export function byStatus(status: number, said: VendorError | null): Failure {
  const note = said?.code ?? null;
  const because = said?.message ? `: ${said.message}` : said?.code ? ` (${said.code}).` : '.';
  if (said?.contentPolicy && status >= 400 && status < 500) {
    return {
      code: 'content_refused',
      retryable: false,
      message: `The provider refused the content${because}`,
      note,
    };
  }
  // Not the client's fault, and nothing that a client should read the vendor's words of.
  if (status === 401 || status === 402 || status === 403) {
    return {
      code: 'provider_unavailable',
      retryable: true,
      oursToMend: true,
      message: 'The provider does not serve this platform at present.',
      note,
    };
  }
  if (status === 429)
    return {
      code: 'provider_rate_limited',
      retryable: true,
      message: `The provider is limiting requests${because}`,
      note,
    };
  if (status === 408)
    return { code: 'provider_timeout', retryable: true, message: `The provider timed out${because}`, note };
  if (status === 409 || status === 425 || status >= 500) {
    return {
      code: 'provider_unavailable',
      retryable: true,
      message: `The provider failed with status ${status}${because}`,
      note,
    };
  }
  return {
    code: 'provider_rejected',
    retryable: false,
    message: `The provider rejected the request with status ${status}${because}`,
    note,
  };
}

/** A success whose body is not what it should be; or an error in the clothes of a success. */
export function malformed(
  ended: Ended,
  { body, what, secrets, over }: { body: unknown; what: string; secrets: Secrets; over?: boolean },
): CallResult {
  const said = vendorError(body, secrets);
  if (said?.contentPolicy) return failed(ended, byStatus(400, said));
  if (said?.status) return failed(ended, { ...byStatus(said.status, said), over });
  return failed(ended, {
    over,
    code: 'provider_malformed',
    retryable: true,
    message: `The provider's answer was malformed: ${what}.`,
    note: said?.code ?? what,
  });
}

export function parsed(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    return undefined;
  }
}

/** The pause that a vendor asks for: `retry-after-ms`, or Retry-After in seconds or as a date. Null: none, or none to be understood. */
export function retryAfterMs(headers: IncomingHttpHeaders): number | null {
  const exact = Number(headers['retry-after-ms'] ?? NaN);
  if (exact >= 0) return Math.min(Math.ceil(exact), MOST_PAUSE_MS);
  const text = headers['retry-after']?.trim();
  if (!text) return null;
  // Date.parse takes much for a date that is none, "-5" for one; every form of an HTTP date begins with a weekday.
  const at = /^[a-z]{3}/i.test(text) ? Date.parse(text) : NaN;
  const ms = /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : at - Date.now();
  return Number.isNaN(ms) ? null : Math.min(Math.max(0, Math.ceil(ms)), MOST_PAUSE_MS);
}
