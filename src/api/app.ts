// The API as one Fastify instance. Routes are grouped by who may call them.
import cors from '@fastify/cors';
import helmet from '@fastify/helmet';
import multipart from '@fastify/multipart';
import rateLimit from '@fastify/rate-limit';
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify';
import type { Context } from '../context.ts';
import { AppError } from '../domain/errors.ts';
import { newId } from '../domain/ids.ts';
import { openAdmission } from '../flow/admit.ts';
import { openAnnouncer } from '../flow/announce.ts';
import { openShower } from '../flow/show.ts';
import { openHub } from '../live/hub.ts';
import { type Api, clientRequestId, VERSION } from './api.ts';
import { openAuthenticator } from './auth.ts';
import { BODY_MAX_BYTES, installBodies } from './body.ts';
import { installErrors } from './errors.ts';
import { EXPOSED_HEADERS } from './headers.ts';
import { installOpenApi } from './openapi.ts';
import { accountRoutes } from './routes/account.ts';
import { adminRoutes } from './routes/admin.ts';
import { artifactRoutes, linkedArtifactRoutes } from './routes/artifacts.ts';
import { batchRoutes } from './routes/batch.ts';
import { eventRoutes } from './routes/events.ts';
import { healthRoutes } from './routes/health.ts';
import { jobRoutes } from './routes/jobs.ts';
import { modelRoutes } from './routes/models.ts';
import { compile } from './validate.ts';

const REQUESTS_A_SECOND = 2_000;
/** The plugin's headers would tell of this limit; ours tell of the plan's. */
const SILENT = {
  'x-ratelimit-limit': false,
  'x-ratelimit-remaining': false,
  'x-ratelimit-reset': false,
  'retry-after': false,
};

export interface ApiServer {
  app: FastifyInstance;
  /** Answers waits, ends streams, takes no more. */
  close(): Promise<void>;
}

export async function openApi(ctx: Context, { simUrl }: { simUrl: string }): Promise<ApiServer> {
  const closing = new AbortController();
  const announcer = openAnnouncer(ctx);
  const hub = openHub(ctx.bus);
  const api: Api = {
    ctx,
    admit: openAdmission(ctx, announcer),
    announcer,
    shower: openShower(ctx),
    hub,
    simUrl,
    closing: closing.signal,
  };
  const app: FastifyInstance = Fastify({
    loggerInstance: ctx.log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    // The request's id is in every line we write, so a logger a request would be made for nothing.
    childLoggerFactory: (logger) => logger,
    genReqId: () => newId('req'),
    bodyLimit: BODY_MAX_BYTES,
    requestTimeout: 60_000,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
  });
  app.setValidatorCompiler(({ schema, httpPart }) => compile(schema as object, httpPart));
  // Schemas of answers document; what is sent is what was built.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  installErrors(app);
  installBodies(app);
  installHeaders(app);
  await installOpenApi(app, ctx);
  await app.register(helmet, {
    contentSecurityPolicy: { directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
  });
  await app.register(cors, { origin: ctx.config.corsOrigins, exposedHeaders: [...EXPOSED_HEADERS] });
  await app.register(multipart, { limits: { files: 1, fileSize: 100 * 1024 * 1024, fields: 10, parts: 11 } });
  await app.register(rateLimit, { global: false, addHeaders: SILENT, addHeadersOnExceeding: SILENT });
  const authenticator = openAuthenticator(ctx);

  await app.register(async (scope) => healthRoutes(scope, api));
  await app.register(async (scope) => modelRoutes(scope, api, authenticator));
  await app.register(async (scope) => linkedArtifactRoutes(scope, api, authenticator));
  await app.register(async (scope) => {
    scope.addHook('onRequest', (request) => authenticator.client(request));
    scope.addHook('preHandler', limitRate(scope));
    jobRoutes(scope, api);
    batchRoutes(scope, api);
    eventRoutes(scope, api, authenticator);
    artifactRoutes(scope, api);
    accountRoutes(scope, api);
  });
  await app.register(async (scope) => {
    scope.addHook('onRequest', (request) => authenticator.operator(request));
    adminRoutes(scope, api);
  });
  return {
    app,
    async close() {
      closing.abort();
      hub.close();
      await app.close();
    },
  };
}

/** Requests a second a key; a window that every process keeps for itself. */
function limitRate(scope: FastifyInstance) {
  return scope.rateLimit({
    max: REQUESTS_A_SECOND,
    timeWindow: 1_000,
    keyGenerator: (request) => request.caller.keyId,
    errorResponseBuilder: () =>
      new AppError('rate_limited', { details: { limit: REQUESTS_A_SECOND, window: 'second' } }),
  });
}

function installHeaders(app: FastifyInstance): void {
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id);
    reply.header('x-millrace-version', VERSION);
    const own = clientRequestId(request.headers['x-client-request-id']);
    if (own !== null) reply.header('x-client-request-id', own);
  });
}
