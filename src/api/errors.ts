// Every error leaves through here, in one shape (contract 9).
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { AppError, type ErrorCode } from '../domain/errors.ts';
import { isConnectionError, isContention } from '../db/transaction.ts';
import { invalid } from './validate.ts';

export function errorBody(error: AppError, request: { path: string; id: string }) {
  return {
    statusCode: error.status,
    code: error.code,
    message: error.message,
    path: request.path,
    requestId: request.id,
    timestamp: new Date().toISOString(),
    retryable: error.retryable,
    details: error.details,
  };
}

export function sendError(request: FastifyRequest, reply: FastifyReply, error: AppError): FastifyReply {
  const path = request.url.split('?')[0] ?? '';
  const retry =
    error.retryable && error.status >= 429 ? { 'retry-after': '1', 'retry-after-ms': '1000' } : {};
  return reply
    .code(error.status)
    .headers({ 'x-should-retry': String(error.retryable), ...retry, ...error.headers })
    .type('application/json; charset=utf-8')
    .send(JSON.stringify(errorBody(error, { path, id: request.id })));
}

const FASTIFY_CODES: Record<string, ErrorCode> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'body_too_large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported_media_type',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'invalid_json',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'invalid_request',
  FST_REQ_FILE_TOO_LARGE: 'body_too_large',
  FST_ERR_BAD_URL: 'not_found',
};

export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const { validation, validationContext, code, statusCode } = error as FastifyError;
  if (validation)
    return invalid(validation as never, validationContext === 'body' ? '' : (validationContext ?? ''));
  const known = FASTIFY_CODES[code];
  if (known) return new AppError(known, { cause: error });
  if (isConnectionError(error) || isContention(error)) return new AppError('overloaded', { cause: error });
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new AppError('invalid_request', { message: 'The request could not be read.', cause: error });
  }
  return new AppError('internal', { cause: error });
}

export function installErrors(app: FastifyInstance): void {
  const routes: { methods: string[]; pattern: RegExp }[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    const pattern = new RegExp(
      `^${url.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`).replaceAll(/:[A-Za-z_]+/g, '[^/]+')}$`,
    );
    routes.push({ methods: [method].flat(), pattern });
  });
  app.setErrorHandler((error, request, reply) => {
    const known = toAppError(error);
    if (known.status >= 500) {
      const { message, stack } = (known.cause ?? known) as Error;
      request.log[known.code === 'internal' ? 'error' : 'warn'](
        { err: { message, stack }, request: request.id },
        'a request failed',
      );
    }
    return sendError(request, reply, known);
  });
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0] ?? '';
    const allowed = [
      ...new Set(routes.filter(({ pattern }) => pattern.test(path)).flatMap(({ methods }) => methods)),
    ];
    if (allowed.length === 0) return sendError(request, reply, new AppError('not_found'));
    const allow = allowed.join(', ');
    return sendError(
      request,
      reply,
      new AppError('method_not_allowed', { details: { allow: allowed }, headers: { allow } }),
    );
  });
}
