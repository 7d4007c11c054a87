// What must be right before a WebSocket is opened (RFC 6455, 4.2), and from where.
import type { FastifyRequest } from 'fastify';
import { AppError, invalidRequest } from '../../domain/errors.ts';

export const PROTOCOL = 'millrace.v1';
const KEY = /^[+/0-9A-Za-z]{22}==$/;
/** Not 8, whose browsers say their origin under another name. */
const VERSION = '13';

/** @throws AppError invalid_request, naming the header */
export function assertHandshake({ headers }: FastifyRequest): void {
  const refuse = (
    path: string,
    message: string,
    more: { expected: string; headers?: Record<string, string> },
  ) => {
    const { details, message: text } = invalidRequest({
      path,
      message,
      expected: more.expected,
      received: headers[path.toLowerCase()] === undefined ? null : 'something else',
    });
    return new AppError('invalid_request', { message: text, details, headers: more.headers ?? {} });
  };
  if (!KEY.test(headers['sec-websocket-key'] ?? ''))
    throw refuse('Sec-WebSocket-Key', 'must be 16 bytes in base64', { expected: '16 bytes in base64' });
  if (headers['sec-websocket-version'] !== VERSION)
    throw refuse('Sec-WebSocket-Version', 'must be 13', {
      expected: VERSION,
      headers: { 'sec-websocket-version': VERSION },
    });
  const protocols = (headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
  const twice = new Set(protocols).size < protocols.length;
  if (
    twice ||
    !protocols.includes(PROTOCOL) ||
    protocols.some((name) => !/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name))
  )
    throw refuse('Sec-WebSocket-Protocol', `must offer ${PROTOCOL}`, { expected: PROTOCOL });
}

/**
 * A browser says which page asks, and would send what it knows of us with it. Others say nothing.
 * @param own our own root. @throws AppError scope_denied
 */
export function assertOrigin(
  { headers }: FastifyRequest,
  { origins, own }: { origins: readonly string[]; own: string },
): void {
  const { origin } = headers;
  if (origin === undefined || origins.includes(origin) || origin === new URL(own).origin) return;
  throw new AppError('scope_denied', {
    message:
      'Pages of this origin may not open a WebSocket here. The operator allows origins in CORS_ORIGINS.',
    details: { needed: 'an origin of CORS_ORIGINS', granted: 'none' },
  });
}
