// What an S3 server, or the way to it, says no with, told so that an operator knows which variable to look at.
import { StorageDown } from './storage.ts';

export interface S3Place {
  bucket: string;
  /** Null: AWS itself. */
  endpoint: string | null;
  region: string;
}

type Fault = Error & {
  code?: unknown;
  $metadata?: { httpStatusCode?: number | undefined };
  errors?: Fault[];
};

export const statusOf = (error: unknown): number | undefined => (error as Fault).$metadata?.httpStatusCode;

const NETWORK =
  /^(ECONNREFUSED|ECONNRESET|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EPIPE|ENOTFOUND|EAI_AGAIN|ERR_STREAM_PREMATURE_CLOSE)$/;

/** Nobody said no: the way there or back was cut, or it took too long. */
export function isCut(error: unknown): boolean {
  const { name, code, errors = [], message } = error as Fault;
  return (
    NETWORK.test(String(code)) ||
    /^(TimeoutError|AbortError)$/.test(name) ||
    /^(aborted|socket hang up)$/.test(message) ||
    errors.some(isCut)
  );
}

/** The same may work a moment later. */
export function mayPass(error: unknown): boolean {
  const status = statusOf(error);
  return isCut(error) || (status !== undefined && (status >= 500 || status === 429 || status === 408));
}

export function troubleOf(error: unknown, { bucket, endpoint, region }: S3Place): StorageDown {
  const { name, message, code, errors = [] } = error as Fault;
  const where = endpoint === null ? `AWS in ${region}` : new URL(endpoint).host;
  const say = (text: string): StorageDown => new StorageDown(text, error);
  if (name === 'CredentialsProviderError')
    return say(
      `S3_BUCKET is set, and there are no credentials for it. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the AWS SDK another source of them.`,
    );
  if (/^(NoSuchBucket|NotFound)$/.test(name))
    return say(
      `S3_BUCKET names ${bucket}, which is not at ${where}. Create that bucket, or correct S3_BUCKET.`,
    );
  if (
    /^(SignatureDoesNotMatch|InvalidAccessKeyId|InvalidToken|ExpiredToken|TokenRefreshRequired)$/.test(name)
  )
    return say(
      `${where} refuses the credentials for S3_BUCKET=${bucket} (${name}). Correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.`,
    );
  if (name === 'AccessDenied' || statusOf(error) === 403)
    return say(
      `${where} does not let these credentials use S3_BUCKET=${bucket}. Allow what docs/operating.md lists, or correct S3_BUCKET or the credentials.`,
    );
  if (/^(PermanentRedirect|AuthorizationHeaderMalformed)$/.test(name) || statusOf(error) === 301)
    return say(`S3_BUCKET=${bucket} is not in S3_REGION=${region}. Correct S3_REGION.`);
  if (name === 'RequestTimeTooSkewed')
    return say(
      `${where} finds that this machine's clock is wrong, and so refuses S3_BUCKET=${bucket}. Set the clock.`,
    );
  if (isCut(error)) {
    const why = message || errors.map((one) => one.message).join(', ') || String(code);
    const remedy = endpoint === null ? 'Correct S3_REGION' : 'Start that server, or correct S3_ENDPOINT';
    return say(
      `${endpoint === null ? 'S3_REGION' : 'S3_ENDPOINT'} names ${where}, which cannot be used: ${why}. ${remedy}.`,
    );
  }
  return say(`${where} failed with S3_BUCKET=${bucket}: ${name}: ${message}`);
}
