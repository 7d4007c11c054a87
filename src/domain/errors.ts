// One table of error codes (contract 9) and the one error class that carries them to a client.

interface Entry {
  status: number;
  /** The same request may succeed later unchanged; becomes `retryable` and `x-should-retry`. */
  retryable: boolean;
  message: string;
}

const entry = (status: number, retryable: boolean, message: string): Entry => ({
  status,
  retryable,
  message,
});

export const ERRORS = {
  invalid_json: entry(400, false, 'The body is not valid JSON.'),
  invalid_request: entry(400, false, 'The request is not valid.'),
  api_key_missing: entry(401, false, 'Send your API key as "Authorization: Bearer <key>".'),
  api_key_invalid: entry(
    401,
    false,
    'This API key is not valid: it is none of ours, or was revoked. Check for a missing character, or ask for another key where you got it.',
  ),
  api_key_expired: entry(401, false, 'This API key has expired. Ask for another where you got it.'),
  ticket_invalid: entry(
    401,
    false,
    'This ticket is not valid: it was used, its time is over, or its key is. POST /v1/tickets makes another.',
  ),
  scope_denied: entry(403, false, 'This key may not do that.'),
  account_suspended: entry(403, false, 'This account is suspended.'),
  account_closed: entry(403, false, 'This account is closed.'),
  account_restricted: entry(403, false, 'This account is restricted.'),
  out_of_credits: entry(403, false, 'The account has not enough credits for this job.'),
  plan_cap_exceeded: entry(403, false, 'The request goes beyond a cap of your plan.'),
  not_found: entry(404, false, 'There is no such thing, or it is not yours.'),
  model_not_found: entry(404, false, 'There is no such model. GET /v1/models lists those there are.'),
  method_not_allowed: entry(405, false, 'This address does not take that method.'),
  not_acceptable: entry(406, false, 'This address cannot answer in that form.'),
  request_timeout: entry(408, true, 'The request took too long to arrive. Send it again, in one go.'),
  job_ended: entry(409, false, 'The job has ended already.'),
  conflict: entry(409, true, 'Somebody else changed it meanwhile. Read it again and repeat.'),
  data_deleted: entry(410, false, 'The data was deleted, or is past its retention.'),
  body_too_large: entry(413, false, 'The body is too large.'),
  input_too_large: entry(413, false, 'The input is larger than the model takes.'),
  unsupported_media_type: entry(415, false, 'This address does not take that content type.'),
  range_not_satisfiable: entry(416, false, 'The range lies outside the content.'),
  idempotency_key_reused: entry(422, false, 'This Idempotency-Key was used for another request.'),
  kind_mismatch: entry(422, false, 'The model is of another kind.'),
  cost_over_max: entry(422, false, 'The job may cost more than max_credits allows.'),
  deadline_unreachable: entry(422, false, 'The job cannot end by its deadline.'),
  price_unknown: entry(
    422,
    false,
    'This model has no price at present, so it cannot be sold. The operator has been told.',
  ),
  input_unreachable: entry(422, false, 'The URL of the input could not be fetched.'),
  input_unsupported: entry(422, false, 'This form of input is not supported.'),
  input_too_long: entry(422, false, 'The input is longer than its bound.'),
  webhook_url_refused: entry(422, false, 'This webhook URL may not be called.'),
  headers_too_large: entry(431, false, 'The head of the request is larger than 16 KiB.'),
  rate_limited: entry(429, true, 'Too many requests a second with this key.'),
  queue_full: entry(429, true, "The account's line is full. Wait until some of its jobs have ended."),
  too_many_connections: entry(429, true, 'Too many open connections.'),
  internal: entry(500, true, 'Something went wrong on our side. Quote the requestId to support.'),
  overloaded: entry(503, true, 'The platform cannot take the request right now.'),
  storage_unavailable: entry(503, true, 'The storage of artifacts cannot be used at present.'),
  model_unavailable: entry(503, true, 'The model is switched off at present.'),
} as const satisfies Record<string, Entry>;

export type ErrorCode = keyof typeof ERRORS;

/** A refusal with a way out. `message` never repeats what a client sent as content. */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly details: Record<string, unknown>;
  readonly headers: Record<string, string>;

  constructor(
    code: ErrorCode,
    options: {
      message?: string;
      details?: Record<string, unknown>;
      headers?: Record<string, string>;
      cause?: unknown;
    } = {},
  ) {
    super(
      options.message ?? ERRORS[code].message,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.name = 'AppError';
    this.code = code;
    this.details = options.details ?? {};
    this.headers = options.headers ?? {};
  }

  get status(): number {
    return ERRORS[this.code].status;
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }
}

/** One fault of a request, as `details.issues` shows it. */
export interface Issue {
  /** Where in the body, or which parameter or header. */
  path: string;
  /** Follows on the path: `must be …`. */
  message: string;
  expected: unknown;
  /** What came, never as a text that may be content: its kind or length will do. */
  received: unknown;
}

/** A field's name as an issue may repeat it: what is not made like one may be content that went astray. */
export function fieldName(name: string): string {
  return /^[\w.$:@/[\]-]{1,64}$/.test(name) ? name : `(a name of ${name.length} characters)`;
}

/** @param say the whole message, where it is more than the path and what is wrong with it */
export function invalidRequest(issue: Issue, say?: string): AppError {
  return new AppError('invalid_request', {
    message: say ?? `${issue.path || 'The body'} ${issue.message}.`,
    details: { issues: [issue] },
  });
}
