// AWS Signature Version 4 as a server checks it: in the header of a request, or in the query of a presigned URL.
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { S3Refusal } from './fault.ts';

export interface Signed {
  method: string;
  /** As it was sent, still percent-encoded. */
  path: string;
  query: URLSearchParams;
  /** By lower-case name. */
  headers: Record<string, string>;
}

export interface Credentials {
  accessKeyId: string;
  secretAccessKey: string;
  region: string;
}

interface Claim {
  credential: string;
  signedHeaders: string[];
  signature: string;
  /** `20261120T120000Z` */
  at: string;
  payloadHash: string;
}

const SKEW_MS = 15 * 60_000;
const LIFE_MAX_S = 604_800;

/** Answers the payload's hash as the client signed it. @throws S3Refusal */
export function verify(request: Signed, known: Credentials): string {
  const claim = request.query.has('X-Amz-Signature') ? fromQuery(request) : fromHeader(request);
  const [accessKeyId, day = '', region, service, end] = claim.credential.split('/');
  if (accessKeyId !== known.accessKeyId) throw new S3Refusal('InvalidAccessKeyId');
  if (region !== known.region || service !== 's3' || end !== 'aws4_request' || !claim.at.startsWith(day))
    throw new S3Refusal(
      'AuthorizationHeaderMalformed',
      `the region ${region} is wrong; expecting ${known.region}`,
    );
  assertAllSigned(request, claim.signedHeaders);
  const scope = `${day}/${region}/s3/aws4_request`;
  const text = ['AWS4-HMAC-SHA256', claim.at, scope, sha256(canonical(request, claim))].join('\n');
  let key: Buffer = Buffer.from(`AWS4${known.secretAccessKey}`);
  for (const part of [day, region, 's3', 'aws4_request']) key = hmac(key, part);
  const right = hmac(key, text);
  const given = Buffer.from(claim.signature, 'hex');
  if (given.length !== right.length || !timingSafeEqual(given, right))
    throw new S3Refusal('SignatureDoesNotMatch');
  return claim.payloadHash;
}

function fromHeader({ headers }: Signed): Claim {
  const match = /^AWS4-HMAC-SHA256 Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]+)$/.exec(
    headers['authorization'] ?? '',
  );
  const at = headers['x-amz-date'] ?? '';
  const payloadHash = headers['x-amz-content-sha256'];
  if (!match || payloadHash === undefined) throw new S3Refusal('AccessDenied');
  if (!(Math.abs(Date.now() - instant(at)) < SKEW_MS)) throw new S3Refusal('RequestTimeTooSkewed');
  const [, credential = '', signedHeaders = '', signature = ''] = match;
  return { credential, signedHeaders: signedHeaders.split(';'), signature, at, payloadHash };
}

function fromQuery({ query }: Signed): Claim {
  const of = (name: string): string => query.get(`X-Amz-${name}`) ?? '';
  const at = of('Date');
  const life = Number(of('Expires'));
  if (!(life >= 1 && life <= LIFE_MAX_S)) throw new S3Refusal('InvalidArgument', 'X-Amz-Expires');
  const since = Date.now() - instant(at);
  if (!(since > -SKEW_MS && since < life * 1000)) throw new S3Refusal('AccessDenied', 'Request has expired');
  return {
    credential: of('Credential'),
    signedHeaders: of('SignedHeaders').split(';'),
    signature: of('Signature'),
    at,
    payloadHash: 'UNSIGNED-PAYLOAD',
  };
}

/** What changes the meaning of a request is worth nothing unsigned. */
function assertAllSigned({ headers }: Signed, signed: readonly string[]): void {
  const needed = ['host', ...Object.keys(headers).filter((name) => name.startsWith('x-amz-'))];
  const missing = needed.find((name) => !signed.includes(name));
  if (missing !== undefined)
    throw new S3Refusal('AccessDenied', `There were headers present which were not signed: ${missing}`);
}

function canonical({ method, path, query, headers }: Signed, { signedHeaders, payloadHash }: Claim): string {
  const pairs = [...query].filter(([name]) => name !== 'X-Amz-Signature');
  const parameters = pairs.map(([name, value]) => `${encode(name)}=${encode(value)}`).toSorted();
  return [
    method,
    path
      .split('/')
      .map((part) => encode(decodeURIComponent(part)))
      .join('/'),
    parameters.join('&'),
    ...signedHeaders.map((name) => `${name}:${(headers[name] ?? '').trim().replace(/ +/g, ' ')}`),
    '',
    signedHeaders.join(';'),
    payloadHash,
  ].join('\n');
}

const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const hmac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();
const instant = (at: string): number =>
  Date.parse(at.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
