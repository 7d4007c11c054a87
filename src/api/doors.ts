// With ADMIN_PORT the same routes are served on two ports: what is for operators alone is found on theirs and nowhere else.
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { Context } from '../context.ts';
import { AppError } from '../domain/errors.ts';
import { NO_ADDRESS, pathOf } from './errors.ts';
import { answerSocket, ignoreExpectations, SERVER_OPTIONS } from './server.ts';

export interface Doors {
  /** The second one's server, not yet listening; null: there is one for all. */
  admin: Server | null;
  /** Whether it came in where operators do. */
  isOperators(request: FastifyRequest): boolean;
}

/** Whether what a path leads to is for operators alone, where they have a port of their own. */
export const isForOperators = (path: string): boolean =>
  path === '/metrics' || path === '/v1/admin' || path.startsWith('/v1/admin/');

/** Before any hook that would judge a request's key: at the wrong door there is nothing to be had with any. */
export function openDoors(app: FastifyInstance, { adminPort }: Pick<Context['config'], 'adminPort'>): Doors {
  if (adminPort === null) return { admin: null, isOperators: () => true };
  const theirs = new WeakSet<IncomingMessage>();
  const admin = createServer(SERVER_OPTIONS.http, (request, response) => {
    theirs.add(request);
    app.routing(request, response);
  });
  // WebSockets are opened by the one server's listener, since without any Node hangs up.
  admin.on('upgrade', (request, socket, head) => {
    theirs.add(request);
    app.server.emit('upgrade', request, socket, head);
  });
  admin.requestTimeout = app.server.requestTimeout;
  admin.keepAliveTimeout = app.server.keepAliveTimeout;
  admin.on('clientError', answerSocket);
  ignoreExpectations(admin);
  const isOperators = ({ raw }: FastifyRequest): boolean => theirs.has(raw);
  app.addHook('onRequest', (request, _reply, done) => {
    const path = request.is404 ? pathOf(request.url) : (request.routeOptions.url ?? '');
    if (isOperators(request) || !isForOperators(path)) return done();
    done(new AppError('not_found', { message: NO_ADDRESS }));
  });
  return { admin, isOperators };
}
