// What the simulator's kinds make and what the server sends: whole answers, and refusals in OpenAI's form.
import type { Kind } from '../../../domain/job.ts';

export interface Answer {
  contentType: string;
  body: string | Buffer;
  /** Further headers: name, value, name, value. */
  headers?: string[];
}

/** The whole answer, made afresh: the same each time. `usageTimes` multiplies the usage that it reports. */
export type Produce = (usageTimes: number) => Answer | Promise<Answer>;

/** A request that was understood. */
export interface Work {
  kind: Kind;
  /** May outlive its call by minutes, so it holds on to little; `weight` says to how many bytes, roughly. */
  answer: Produce;
  weight: number;
  /** Chat streams: the server-sent events, `[DONE]` last. Null: the caller wants the answer in one piece. */
  events: ((usageTimes: number) => string[]) | null;
}

/** A refusal as OpenAI words it. */
export class SimError extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }

  body(): string {
    const type =
      this.status === 429
        ? 'rate_limit_error'
        : this.status >= 500
          ? 'server_error'
          : 'invalid_request_error';
    return JSON.stringify({ error: { message: this.message, type, param: null, code: this.code } });
  }
}

export const invalid = (message: string): SimError => new SimError(400, 'invalid_request', message);

/** The body of a JSON request as an object. @throws SimError 400 */
export function objectOf(body: Buffer): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(body.toString());
  } catch {
    throw new SimError(400, 'invalid_json', 'The body is not JSON.');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid('The body must be an object.');
  return value as Record<string, unknown>;
}

/** A whole number between the bounds, or `fallback` where the field is absent or null. @throws SimError 400 */
export function wholeNumber(
  value: unknown,
  name: string,
  { min, max, fallback }: { min: number; max: number; fallback: number },
): number {
  if (value === undefined || value === null) return fallback;
  if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max)
    return value as number;
  throw invalid(`${name} must be a whole number from ${min} to ${max}.`);
}
