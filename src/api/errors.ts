// Every error leaves through here, in one shape (contract 9).
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Context } from '../context.ts';
import { AppError, type ErrorCode } from '../domain/errors.ts';
import { isConnectionError, isContention } from '../db/transaction.ts';
import { StorageDown } from '../storage/storage.ts';
import { invalid } from './validate.ts';

export interface ErrorBody {
  statusCode: number;
  code: ErrorCode;
  message: string;
  path: string;
  requestId: string;
  timestamp: string;
  retryable: boolean;
  details: Record<string, unknown>;
}

export const NO_ADDRESS = 'There is no such address. /reference shows those there are.';

/** An address may be as long as a head. */
const PATH_SHOWN = 500;

export function errorBody(error: AppError, request: { path: string; id: string }): ErrorBody {
  return {
    statusCode: error.status,
    code: error.code,
    message: error.message,
    path: request.path.slice(0, PATH_SHOWN),
    requestId: request.id,
    timestamp: new Date().toISOString(),
    retryable: error.retryable,
    details: error.details,
  };
}

/** What the error itself adds to an answer's headers. */
export function errorHeaders(error: AppError): Record<string, string> {
  const headers = { 'x-should-retry': String(error.retryable), ...error.headers };
  if (!error.retryable || error.status < 429) return headers;
  const seconds = error.headers['retry-after'] ?? '1';
  return { 'retry-after': seconds, 'retry-after-ms': String(Number(seconds) * 1000), ...headers };
}

export const pathOf = (url: string): string => url.split('?')[0] ?? '';

export function sendError(request: FastifyRequest, reply: FastifyReply, error: AppError): FastifyReply {
  return reply
    .code(error.status)
    .headers(errorHeaders(error))
    .type('application/json; charset=utf-8')
    .send(JSON.stringify(errorBody(error, { path: pathOf(request.url), id: request.id })));
}

const CODES: Record<string, ErrorCode> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'body_too_large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported_media_type',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'invalid_json',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'invalid_request',
  FST_ERR_ROUTE_MISSING_CONTENT_TYPE: 'unsupported_media_type',
  FST_REQ_FILE_TOO_LARGE: 'body_too_large',
  FST_ERR_BAD_URL: 'invalid_request',
  // No id of ours is as long.
  FST_ERR_MAX_PARAM_LENGTH: 'not_found',
  // PostgreSQL gave up on a statement that took too long, or has no memory or connections left.
  '57014': 'overloaded',
  '53200': 'overloaded',
  // The disk that uploads come to is full, or takes no more of ours.
  ENOSPC: 'storage_unavailable',
  EDQUOT: 'storage_unavailable',
  EROFS: 'storage_unavailable',
  // Prisma: unique or foreign key violated, no such row, no connection in time.
  P2002: 'conflict',
  P2003: 'conflict',
  P2025: 'not_found',
  P1001: 'overloaded',
  P1017: 'overloaded',
  P2024: 'overloaded',
};

const SAY: Record<string, string> = {
  FST_ERR_BAD_URL: 'The address is not percent-encoded UTF-8.',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'The body is not as long as Content-Length says.',
};

export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const { validation, validationContext, code, statusCode } = error as FastifyError;
  if (validation) return invalid(validation as never, validationContext === 'headers' ? 'headers' : '');
  const known = CODES[code];
  const message = SAY[code];
  if (known) return new AppError(known, { ...(message === undefined ? {} : { message }), cause: error });
  // Before our own connections: a client's that broke off has their codes.
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new AppError('invalid_request', { message: 'The request could not be read.', cause: error });
  }
  if (error instanceof StorageDown) return new AppError('storage_unavailable', { cause: error });
  if (isConnectionError(error) || isContention(error)) return new AppError('overloaded', { cause: error });
  return new AppError('internal', { cause: error });
}

/** Counts what is refused. What is our own fault, or the machine's, is also for the log. */
export function noteFailure(
  ctx: Pick<Context, 'counts' | 'alarms' | 'log'>,
  { id, method, routeOptions, ip }: Pick<FastifyRequest, 'id' | 'method' | 'routeOptions' | 'ip'>,
  error: AppError,
): void {
  noteRefusal(ctx, { request: id, method, route: routeOptions.url ?? 'none', ip }, error);
}

/** The same of what is asked in other ways than by a request. @param about for the log */
export function noteRefusal(
  { counts, alarms, log }: Pick<Context, 'counts' | 'alarms' | 'log'>,
  about: { request: string; method: string; route: string; ip?: string },
  error: AppError,
): void {
  counts.refused(error.code);
  if (error.code === 'price_unknown')
    alarms.raise('error', 'a model that is sold has no price for what it uses', {
      about: { model: String(error.details['model']) },
    });
  if (error.status < 500) return;
  const level = error.code === 'internal' ? 'error' : 'warn';
  // A refusal of our own making says all by its code; where it was made is no clue.
  const err = error.cause ?? (error.code === 'internal' ? error : undefined);
  const what = { ...about, status: error.status, code: error.code };
  log[level]({ ...what, ...(err !== undefined && { err }) }, 'a request failed');
}

export function installErrors(app: FastifyInstance, ctx: Context): void {
  app.setErrorHandler((error, request, reply) => {
    const known = toAppError(error);
    noteFailure(ctx, request, known);
    if (known.code === 'body_too_large') {
      known.details['max_bytes'] ??= request.routeOptions.bodyLimit;
      // A client that is still sending reads no answer before it is done, and none at all from a closed connection.
      reply.removeHeader('connection');
    }
    if (known.code === 'unsupported_media_type') return sendError(request, reply, withTaken(known, request));
    return sendError(request, reply, known);
  });
  const methodsOf = watchRoutes(app);
  app.setNotFoundHandler((request, reply) => {
    const allowed = methodsOf(pathOf(request.url));
    if (allowed.length === 0)
      return sendError(request, reply, new AppError('not_found', { message: NO_ADDRESS }));
    const headers = { allow: allowed.join(', ') };
    return sendError(
      request,
      reply,
      new AppError('method_not_allowed', { details: { allow: allowed }, headers }),
    );
  });
}

/** Says which content types the address takes, in the header `Accept` too (RFC 9110, 15.5.16), if that is what was wrong. */
function withTaken(error: AppError, { routeOptions }: FastifyRequest): AppError {
  if ('accept-encoding' in error.headers || 'accept' in error.details) return error;
  const { consumes, body } = (routeOptions.schema ?? {}) as { consumes?: string[]; body?: unknown };
  const accept = consumes ?? (body === undefined ? [] : ['application/json']);
  const utf8 = accept.includes('application/json') ? ', in UTF-8' : '';
  return new AppError(error.code, {
    message:
      accept.length === 0 ? 'This address takes no body.' : `Send the body as ${accept.join(' or ')}${utf8}.`,
    details: { accept },
    headers: accept.length === 0 ? {} : { accept: accept.join(', ') },
    cause: error.cause,
  });
}

/** Which methods an address takes. */
function watchRoutes(app: FastifyInstance): (path: string) => string[] {
  const routes: { methods: string[]; pattern: RegExp }[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    // The preflight's, which is everywhere.
    if (url === '*') return;
    const literal = url.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`);
    const pattern = literal.replaceAll(/:[A-Za-z_]+/g, '[^/]+').replaceAll('*', '.+');
    routes.push({ methods: [method].flat(), pattern: new RegExp(`^${pattern}$`) });
  });
  return (path) => [
    ...new Set(routes.filter(({ pattern }) => pattern.test(path)).flatMap(({ methods }) => methods)),
  ];
}
