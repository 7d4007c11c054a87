// Headers (contract 10): what every answer says, what a job's adds, and what a request's head must be.
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type AppError, invalidRequest } from '../domain/errors.ts';
import { isFinal } from '../domain/job.ts';
import type { Job } from '../domain/job-view.ts';
import { usd } from '../domain/money.ts';
import { clientRequestId, VERSION } from './api.ts';

export const EXPOSED_HEADERS = [
  'x-request-id',
  'x-client-request-id',
  'x-millrace-version',
  'x-inference-id',
  'x-credits-held',
  'x-credits-used',
  'x-usd-spent',
  'x-credits-available',
  'x-should-retry',
  'retry-after',
  'retry-after-ms',
  'idempotent-replayed',
  'location',
  'etag',
  'ratelimit',
  'ratelimit-policy',
  'x-ratelimit-limit',
  'x-ratelimit-remaining',
  'x-ratelimit-reset',
  'deprecation',
  'sunset',
  'link',
] as const;

/**
 * What a browser may do with an answer: nothing but show it. Clients' files are of this origin, so not even our own scripts
 * may run beside them. After OWASP's list for REST APIs; written here since a plugin would work it out for each answer.
 */
const HARMLESS = {
  'content-security-policy':
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'strict-transport-security': 'max-age=31536000; includeSubDomains',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const;

/** On every answer: which request it answers, under our name and the client's, which version speaks, and what it may do. */
export function identify(request: FastifyRequest, reply: FastifyReply): void {
  reply.headers(HARMLESS);
  reply.header('x-request-id', request.id).header('x-millrace-version', VERSION);
  const own = clientRequestId(request.headers['x-client-request-id']);
  if (own !== null) reply.header('x-client-request-id', own);
}

/** What is wrong with the request line and its head, whatever they ask for. */
export function headFault({ raw, headers }: FastifyRequest): AppError | undefined {
  if (headers.host === undefined && raw.httpVersion === '1.1')
    return invalidRequest({ path: 'Host', message: 'is required', expected: 'a header', received: null });
  if (isPlainText(raw.url ?? '')) return undefined;
  return invalidRequest({
    path: 'url',
    message: 'must be percent-encoded UTF-8 without NUL',
    expected: 'UTF-8',
    received: 'other bytes',
  });
}

/** PostgreSQL keeps no NUL in a text, and what is not UTF-8 would be taken for something else. */
function isPlainText(url: string): boolean {
  if (!url.includes('%')) return true;
  try {
    return !decodeURIComponent(url).includes('\0');
  } catch {
    return false;
  }
}

/**
 * Whether the client has what we would send: If-None-Match names the tag, among others or as a weak one (RFC 9110,
 * 13.1.2 compares weakly), or any.
 */
export function hasCurrent(request: FastifyRequest, etag: string): boolean {
  const header = request.headers['if-none-match'];
  if (header === undefined) return false;
  if (header.trim() === '*') return true;
  return [...header.matchAll(/(?:W\/)?("[^"]*")/g)].some(([, tag]) => tag === etag);
}

export const JSON_TYPE = 'application/json; charset=utf-8';

export function jobHeaders(reply: FastifyReply, job: Job): void {
  reply.header('x-inference-id', job.id).header('x-credits-held', String(job.hold));
  if (isFinal(job.status)) {
    const cost = job.cost ?? 0n;
    reply.header('x-credits-used', String(cost)).header('x-usd-spent', usd(cost));
  } else {
    reply.header('retry-after', '1').header('retry-after-ms', '1000');
  }
}
