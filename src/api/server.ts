// The HTTP server below the routes: what it bears with, and how it answers what never becomes a request.
import type { FastifyHttpOptions, FastifyReply, FastifyRequest } from 'fastify';
import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { AppError, type ErrorCode } from '../domain/errors.ts';
import { newId } from '../domain/ids.ts';
import { VERSION } from './api.ts';
import { errorBody, errorHeaders, sendError, toAppError } from './errors.ts';
import { identify } from './headers.ts';
import { shouldUpgrade } from './ws/upgrade.ts';

/** Half a head of a request is held open for so long, and a request that is still arriving for so long. */
const HEAD_MS = 10_000;
const REQUEST_MS = 120_000;
const LOOK_EVERY_MS = 2_000;
export const SERVER_OPTIONS = {
  requestTimeout: REQUEST_MS,
  // No timeout a handler: Fastify's costs a timer and an error a request, and what one waits for has its own. A list's turn comes
  // within 12 s, an answer of the database that has fallen silent is given up after 65 s, a wait lasts 60 s.
  routerOptions: { maxParamLength: 200 },
  // Wide enough for whoever is slow, too narrow to be held open by the thousand (Node's own limits are minutes, or none).
  http: {
    headersTimeout: HEAD_MS,
    connectionsCheckingInterval: LOOK_EVERY_MS,
    // Asked for in headers.ts: Node's own refusal has no body.
    requireHostHeader: false,
    shouldUpgradeCallback: shouldUpgrade,
  },
  clientErrorHandler: answerSocket,
  frameworkErrors: (error: Error, request: FastifyRequest, reply: FastifyReply) => {
    identify(request, reply);
    sendError(request, reply, toAppError(error));
  },
} satisfies FastifyHttpOptions<Server>;

const CODES: Record<string, ErrorCode> = {
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
  HPE_HEADER_OVERFLOW: 'headers_too_large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 'body_too_large',
};

/** What could not be read as HTTP, or did not come in time. Nothing of it is logged: it may hold a key. */
export function answerSocket(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  if (!socket.writable || hasAnswered(socket)) return void socket.destroy();
  const code = CODES[error.code ?? ''];
  const refusal = code
    ? new AppError(code)
    : new AppError('invalid_request', { message: 'This is not an HTTP request.' });
  const id = newId('req');
  const body = JSON.stringify(errorBody(refusal, { path: '', id }));
  const head = {
    ...errorHeaders(refusal),
    'x-request-id': id,
    'x-millrace-version': VERSION,
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    connection: 'close',
  };
  const lines = Object.entries(head).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(
    `HTTP/1.1 ${refusal.status} ${STATUS_CODES[refusal.status]}\r\n${lines.join('')}\r\n${body}`,
    () => socket.destroy(),
  );
}

/** Node keeps the answer under way here; a second one in the middle of it would be read as its body. */
function hasAnswered(socket: Socket & { _httpMessage?: ServerResponse }): boolean {
  return socket._httpMessage?.headersSent ?? false; // oxlint-disable-line no-underscore-dangle -- Node's own name
}

/** An expectation we do not know is no reason to refuse (RFC 9110, 10.1.1 leaves it to us). */
export function ignoreExpectations(server: {
  on(
    event: 'checkExpectation',
    listener: (request: IncomingMessage, response: ServerResponse) => void,
  ): unknown;
  emit(event: 'request', request: IncomingMessage, response: ServerResponse): boolean;
}): void {
  server.on('checkExpectation', (request, response) => server.emit('request', request, response));
}
