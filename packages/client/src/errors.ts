/** The platform said no, and why. `code` is what to decide by; `message` is for people. */
export class MillraceError extends Error {
  override name = 'MillraceError';
  readonly status: number;
  readonly code: string;
  /** The same request may succeed later, unchanged. */
  readonly retryable: boolean;
  readonly requestId: string | null;
  readonly details: Record<string, unknown>;

  constructor(status: number, body: Partial<ErrorBody> = {}, options?: ErrorOptions) {
    super(body.message ?? `The platform answered ${status}.`, options);
    this.status = status;
    this.code = body.code ?? 'unknown';
    this.retryable = body.retryable ?? (status === 429 || status >= 500);
    this.requestId = body.requestId ?? null;
    this.details = body.details ?? {};
  }
}

export interface ErrorBody {
  statusCode: number;
  code: string;
  message: string;
  requestId: string;
  retryable: boolean;
  details: Record<string, unknown>;
}

/** The answer's own words, if it has any. */
export async function errorOf(response: Response): Promise<MillraceError> {
  const text = await response.text().catch(() => '');
  try {
    return new MillraceError(response.status, JSON.parse(text) as ErrorBody);
  } catch {
    return new MillraceError(response.status, text === '' ? {} : { message: text.slice(0, 200) });
  }
}

/** What came is no webhook of ours, or not for now. Answer it with 400. */
export class SignatureError extends Error {
  override name = 'SignatureError';
}
