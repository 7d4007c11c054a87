// Webhooks as their receivers meet them (contract 12): when they are called, what is sent, and what their answers mean.
import { createHmac, randomBytes } from 'node:crypto';

/** A receiver has so long for its whole answer. */
export const CALL_MS = 15_000;
/** So much of it is kept. */
export const ANSWER_KEPT_BYTES = 64 * 1024;
/** Calls at once of one lane: an endpoint, or for single jobs' webhooks one host. */
export const LANE_CALLS = 4;
/** The pauses after the first call and the next ones: ten calls in 75 hours and a half. */
export const RETRY_AFTER_S = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400] as const;
export const CALLS_MAX = RETRY_AFTER_S.length + 1;
const JITTER = 0.2;

/** For so long after a rotation the old secret signs besides. */
export const OLD_SECRET_S = 86_400;
/** An owner is told of an endpoint through which nothing has got for so long. */
const WARN_AFTER_MS = 3_600_000;
/** And then it is switched off. */
const DISABLE_AFTER_MS = 5 * 86_400_000;

export type DeliveryStatus = 'pending' | 'delivered' | 'failed' | 'exhausted';
export type DisabledReason = 'client' | 'gone' | 'failing';
export type Payload = 'full' | 'thin';

/** What came back of one call. */
export interface CallResult {
  /** Null: no answer, or not all of it in time. */
  httpStatus: number | null;
  /** What was wrong, in a word or two; null: nothing. */
  error: string | null;
  /** As much of the answer's body as is kept. */
  body: string | null;
  durationMs: number;
}

/** What a call means for its delivery. `gone`: the receiver wants no more, ever (410). */
export type Verdict =
  | { status: 'delivered' }
  | { status: 'pending'; waitMs: number }
  | { status: 'exhausted' }
  | { status: 'failed'; gone: true };

/**
 * @param failures calls of this round in vain, before this one
 * @param random from 0 to 1
 */
export function verdictOf(httpStatus: number | null, failures: number, random: number): Verdict {
  if (httpStatus !== null && httpStatus >= 200 && httpStatus < 300) return { status: 'delivered' };
  if (httpStatus === 410) return { status: 'failed', gone: true };
  const pause = RETRY_AFTER_S[failures];
  if (pause === undefined) return { status: 'exhausted' };
  return { status: 'pending', waitMs: Math.round(pause * 1_000 * (1 - JITTER + 2 * JITTER * random)) };
}

/** What is wrong with an answer, as the log of calls says it. */
export function faultOf(httpStatus: number, location: string | null): string | null {
  if (httpStatus >= 200 && httpStatus < 300) return null;
  if (httpStatus === 410) return 'gone';
  if (httpStatus >= 300 && httpStatus < 400)
    return location === null ? 'redirect' : `redirect, which is not followed: ${location}`;
  return 'status';
}

/** What becomes of an endpoint that has just failed once more. */
export function consequence(
  { failingSince, warnedAt }: { failingSince: Date | null; warnedAt: Date | null },
  now: Date,
): 'disable' | 'warn' | null {
  const failedMs = failingSince === null ? 0 : now.getTime() - failingSince.getTime();
  if (failedMs >= DISABLE_AFTER_MS) return 'disable';
  return failedMs >= WARN_AFTER_MS && warnedAt === null ? 'warn' : null;
}

/** `whsec_` and 32 random bytes in base64, as Standard Webhooks has it. */
export const newSecret = (): string => `whsec_${randomBytes(32).toString('base64')}`;

/** Whether it has that form, with 24 to 64 bytes. */
export function isSecret(text: string): boolean {
  if (!/^whsec_[A-Za-z0-9+/]+={0,2}$/.test(text)) return false;
  const { length } = keyOf(text);
  return length >= 24 && length <= 64;
}

const keyOf = (secret: string): Buffer => Buffer.from(secret.slice('whsec_'.length), 'base64');

/** What identifies and proves a message, as headers. */
export function signedHeaders(
  secrets: readonly string[],
  { id, at, body }: { id: string; at: Date; body: string },
): Record<string, string> {
  const timestamp = String(Math.floor(at.getTime() / 1_000));
  const signatures = secrets.map((secret) => {
    const mac = createHmac('sha256', keyOf(secret)).update(`${id}.${timestamp}.${body}`);
    return `v1,${mac.digest('base64')}`;
  });
  return {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': signatures.join(' '),
  };
}

/** An event with nothing of its data but ids and status. */
export function thinBody(body: string): string {
  const event = JSON.parse(body) as { data: Record<string, unknown> };
  const kept = Object.entries(event.data).filter(([name]) =>
    /^(?:id|object|status|version|.*_id)$/.test(name),
  );
  return JSON.stringify({ ...event, data: Object.fromEntries(kept) });
}
