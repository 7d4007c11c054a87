// GET /v1/ws. An upgrade takes the way of every request, so what is refused is refused in the same words; only where it is
// accepted does the connection leave HTTP.
import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { type WebSocket, WebSocketServer } from 'ws';
import { readAs } from '../../db/transaction.ts';
import { AppError, invalidRequest } from '../../domain/errors.ts';
import { eventRange } from '../../store/looks.ts';
import { type Api, VERSION } from '../api.ts';
import type { Authenticator } from '../auth.ts';
import { Ticket, TICKET_OR_KEY } from '../ticket-scope.ts';
import { assertHandshake, assertOrigin, PROTOCOL } from './handshake.ts';
import { MESSAGES_A_SECOND } from './pace.ts';
import { LIMITS_TOLD, type Sockets } from './sockets.ts';

export const PATH = '/v1/ws';
const FRAME_MAX_BYTES = 1024 * 1024;
/** Whoever is told that it is over has so long to answer: also one that has 1 MiB to read before. */
const CLOSE_MS = 10_000;

const OPTIONS = {
  noServer: true,
  clientTracking: false,
  perMessageDeflate: false,
  maxPayload: FRAME_MAX_BYTES,
  closeTimeout: CLOSE_MS,
  // Pings count as messages do.
  autoPong: false,
  handleProtocols: () => PROTOCOL,
};

interface Upgrade {
  socket: Duplex;
  head: Buffer;
  /** Of its request, once it has one. */
  id: string;
}

/** To be asked by the server: only there, and only to this, is a connection ever upgraded; else the request is as any other. */
export function shouldUpgrade({ method, url, headers }: IncomingMessage): boolean {
  return method === 'GET' && url?.split('?')[0] === PATH && headers.upgrade?.toLowerCase() === 'websocket';
}

export interface Tools {
  api: Api;
  authenticator: Authenticator;
  sockets: Sockets;
}

export function socketRoute(app: FastifyInstance, { api, authenticator, sockets }: Tools): void {
  const { ctx } = api;
  const upgrades = new WeakMap<IncomingMessage, Upgrade>();
  const server = new WebSocketServer(OPTIONS);
  server.on('headers', (headers, request) => {
    headers.push(`x-request-id: ${upgrades.get(request)?.id}`, `x-millrace-version: ${VERSION}`);
  });
  app.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    upgrades.set(request, { socket, head, id: '' });
    app.routing(request, answerOn(request, socket));
  });

  app.get(
    PATH,
    {
      exposeHeadRoute: false,
      schema: {
        tags: ['events'],
        summary: 'Open a WebSocket',
        description:
          `Of the subprotocol \`${PROTOCOL}\`: submit, follow, look at and cancel jobs over one connection (docs/streaming.md). With a key, or ` +
          'from a browser with a ticket. A page must be of an origin that the operator allows.',
        security: TICKET_OR_KEY,
        querystring: Type.Object({ ticket: Ticket }, { additionalProperties: false }),
        response: { 101: { type: 'null', description: `The connection speaks ${PROTOCOL} from here on` } },
      },
      // Before a ticket is spent on it.
      onRequest: [checkUpgrade, (request: FastifyRequest) => authenticator.clientOrTicket(request)],
    },
    async (request, reply) => {
      const upgrade = upgrades.get(request.raw);
      if (!upgrade) throw noUpgrade();
      const { caller } = request;
      if (caller.suspended) throw caller.suspended;
      const range = await readAs(ctx.client, caller.accountId, (tx) => eventRange(tx, caller.accountId));
      sockets.assertRoom(caller.keyId);
      upgrade.id = request.id;
      open(request, reply, { ...upgrade, ...range });
      return reply;
    },
  );

  async function checkUpgrade(request: FastifyRequest): Promise<void> {
    if (!upgrades.has(request.raw)) return;
    assertHandshake(request);
    assertOrigin(request, { origins: ctx.config.corsOrigins, own: ctx.publicUrl() });
  }

  function open(
    request: FastifyRequest,
    reply: FastifyReply,
    { socket, head, newest, oldest }: Upgrade & { newest: bigint; oldest: bigint },
  ): void {
    reply.hijack();
    reply.raw.detachSocket(socket as never);
    const { id, caller, ticket } = request;
    server.handleUpgrade(request.raw, socket, head, (ws: WebSocket) => {
      const connection = sockets.join({ ws, socket, id, caller, ticket });
      const limits = { frame_bytes: FRAME_MAX_BYTES, ...LIMITS_TOLD, messages_a_second: MESSAGES_A_SECOND };
      const { socketHeartbeatMs: heartbeat_ms } = ctx.config;
      connection.answer(
        `{"type":"hello","connection_id":"${id}","account_id":"${caller.accountId}","heartbeat_ms":${heartbeat_ms}` +
          `,"cursor":${newest},"oldest":${oldest},"limits":${JSON.stringify(limits)}}`,
      );
    });
  }
}

function noUpgrade(): AppError {
  const { details, message } = invalidRequest({
    path: 'Upgrade',
    message: 'must be websocket',
    expected: 'websocket',
    received: null,
  });
  return new AppError('invalid_request', {
    message,
    details,
    headers: { upgrade: 'websocket' },
  });
}

/** Node has let go of the connection: what is answered ends it. */
function answerOn(request: IncomingMessage, socket: Duplex): ServerResponse {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket as never);
  // Who is gone hears nothing; there is nobody to tell.
  socket.on('error', () => socket.destroy());
  response.on('finish', () => {
    response.detachSocket(socket as never);
    socket.end(() => socket.destroy());
  });
  return response;
}
