// The API as one Fastify instance. Routes are grouped by who may call them.
import cors from '@fastify/cors';
import rateLimit from '@fastify/rate-limit';
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify';
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { Context } from '../context.ts';
import { newId } from '../domain/ids.ts';
import { openAdmission } from '../flow/admit.ts';
import { tellDrainRate } from '../flow/drain-rate.ts';
import { openAnnouncer } from '../flow/announce.ts';
import { openShower } from '../flow/show.ts';
import { openHub } from '../live/hub.ts';
import { quietLog } from '../logging.ts';
import type { Api } from './api.ts';
import { openAuthenticator } from './auth.ts';
import { BODY_MAX_BYTES, installBodies } from './body.ts';
import { installErrors } from './errors.ts';
import { EXPOSED_HEADERS, headFault, identify } from './headers.ts';
import { countRequests } from './count-requests.ts';
import { openDoors } from './doors.ts';
import { watchHandlers } from './in-hand.ts';
import { installOpenApi } from './openapi.ts';
import { accountRoutes } from './routes/account.ts';
import { adminRoutes } from './routes/admin.ts';
import { artifactRoutes, linkedArtifactRoutes } from './routes/artifacts.ts';
import { batchRoutes } from './routes/batch.ts';
import { deliveryRoutes } from './routes/deliveries.ts';
import { callbackRoutes } from './routes/callbacks.ts';
import { eventRoutes } from './routes/events.ts';
import { healthRoutes } from './routes/health.ts';
import { jobRoutes } from './routes/jobs.ts';
import { modelRoutes } from './routes/models.ts';
import { ticketRoutes } from './routes/tickets.ts';
import { webhookRoutes } from './routes/webhooks.ts';
import { promisedUploadRoutes } from './routes/promised-uploads.ts';
import { ignoreExpectations, SERVER_OPTIONS } from './server.ts';
import { openRateLimit } from './rate-limit.ts';
import { installUploads } from './upload.ts';
import { compile } from './validate.ts';
import { openSockets } from './ws/sockets.ts';
import { socketRoute } from './ws/upgrade.ts';

const IDLE_LOOK_MS = 50;

export interface ApiServer {
  app: FastifyInstance;
  /** Of ADMIN_PORT, to be listened with. */
  admin: Server | null;
  /** Answers waits, ends streams, takes no more. */
  close(): Promise<void>;
}

export async function openApi(ctx: Context, { simUrl }: { simUrl: string | null }): Promise<ApiServer> {
  const closing = new AbortController();
  const announcer = openAnnouncer(ctx);
  const hub = openHub(ctx.bus);
  const shower = openShower(ctx);
  const app: FastifyInstance = Fastify({
    ...SERVER_OPTIONS,
    loggerInstance: quietLog(ctx.log) as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    // The request's id is in every line we write, so a logger a request would be made for nothing.
    childLoggerFactory: (logger) => logger,
    genReqId: () => newId('req'),
    bodyLimit: BODY_MAX_BYTES,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    trustProxy: ctx.config.trustedProxies.length > 0 && ctx.config.trustedProxies,
  });
  app.setValidatorCompiler(({ schema, httpPart }) => compile(schema as object, httpPart));
  // Schemas of answers document; what is sent is what was built.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  ignoreExpectations(app.server);
  countRequests(app, ctx.counts);
  const handlers = watchHandlers(app);
  installErrors(app, ctx);
  app.addHook('onRequest', (request, reply, done) => {
    identify(request, reply);
    done();
  });
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (closing.signal.aborted) reply.header('connection', 'close');
    done();
  });
  const { admin, isOperators } = openDoors(app, ctx.config);
  const api: Api = {
    ctx,
    admit: tellDrainRate(openAdmission(ctx, announcer), shower),
    announcer,
    shower,
    hub,
    simUrl,
    isOperators,
    closing: closing.signal,
  };
  await installOpenApi(app, api);
  const origins = ctx.config.corsOrigins;
  // Nobody allowed, nothing to say: with an empty list the plugin would still answer preflights.
  if (origins.length > 0) {
    await app.register(cors, {
      origin: origins,
      methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
      exposedHeaders: [...EXPOSED_HEADERS],
      strictPreflight: false,
      maxAge: 600,
    });
  }
  // Refusals begin here, so that a browser may read them.
  app.addHook('onRequest', (request, _reply, done) => done(headFault(request)));
  installBodies(app);
  await app.register(rateLimit, { global: false });
  const authenticator = openAuthenticator(ctx, openRateLimit(app));

  const sockets = openSockets({ api, authenticator, handlers });

  await app.register(async (scope) => healthRoutes(scope, { ...api, sockets }));
  await app.register(async (scope) => callbackRoutes(scope, api));
  await app.register(async (scope) => socketRoute(scope, { api, authenticator, sockets }));
  await app.register(async (scope) => modelRoutes(scope, api, authenticator));
  await app.register(async (scope) => eventRoutes(scope, api, authenticator));
  await app.register(async (scope) => linkedArtifactRoutes(scope, api, authenticator));
  await app.register(async (scope) => promisedUploadRoutes(scope, api));
  await app.register(async (scope) => {
    scope.addHook('onRequest', (request) => authenticator.client(request));
    jobRoutes(scope, api);
    batchRoutes(scope, api);
    ticketRoutes(scope, api);
    accountRoutes(scope, api);
    webhookRoutes(scope, api);
    deliveryRoutes(scope, api);
    await scope.register(async (inner) => {
      await installUploads(inner);
      artifactRoutes(inner, api);
    });
  });
  await app.register(async (scope) => {
    scope.addHook('onRequest', (request) => authenticator.operator(request));
    adminRoutes(scope, api);
  });
  return {
    app,
    admin,
    async close() {
      closing.abort();
      hub.close();
      const forMs = ctx.config.drainSeconds * 1000;
      await Promise.all([sockets.close(forMs), closeServers(app, { admin, forMs })]);
      await handlers.done();
      await announcer.quiet();
    },
  };
}

/**
 * Closes a connection once what was asked on it has been answered: Node closes only those that are idle when it is told, and
 * one that was waited on would be kept alive for its next request. Who is not done when the time is over is cut off.
 */
async function closeServers(
  app: FastifyInstance,
  { admin, forMs }: { admin: Server | null; forMs: number },
): Promise<void> {
  const servers = admin ? [app.server, admin] : [app.server];
  const each = (close: (server: Server) => void) => (): void => servers.forEach(close);
  const idle = setInterval(
    each((server) => server.closeIdleConnections()),
    IDLE_LOOK_MS,
  );
  const cut = setTimeout(
    each((server) => server.closeAllConnections()),
    forMs,
  );
  const closed = admin?.listening ? once(admin.close(), 'close') : null;
  try {
    await Promise.all([app.close(), closed]);
  } finally {
    clearInterval(idle);
    clearTimeout(cut);
  }
}
