// Where vendors tell that work moved on (src/flow/callback.ts). Nothing they say is believed, and so nothing of it is read.
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { AppError } from '../../domain/errors.ts';
import { readCallbackToken } from '../../flow/callback.ts';
import type { Api } from '../api.ts';

/** A vendor's word may hold all that went in and came out. Who says more is cut off. */
const MOST_BYTES = 8 << 20;
/** A job's worker is woken no more often, however often a vendor calls. */
const WAKE_EVERY_MS = 100;

export function callbackRoutes(app: FastifyInstance, { ctx }: Api): void {
  const wake = oncePer(WAKE_EVERY_MS, (jobId) => ctx.bus.publish([{ type: 'remote', jobId }]));

  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, payload, done) => {
    let bytes = 0;
    payload.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MOST_BYTES) payload.destroy();
    });
    payload.on('end', () => done(null));
    payload.on('error', (error) => done(error));
  });

  app.post<{ Params: { token: string } }>(
    '/v1/callbacks/:token',
    {
      schema: {
        tags: ['service'],
        summary: 'Tell that work moved on',
        description:
          'For vendors, at the address they were given with the work. Any body is taken and none is read: a worker that waits for the work looks at once.',
        security: [],
        params: Type.Object({ token: Type.String() }),
        response: { 204: Type.Null() },
      },
      onRequest: async (request) => {
        if (!readCallbackToken(ctx.secrets.keys, request.params.token)) throw new AppError('not_found');
        // Whatever the vendor calls it: what is no media type would be refused before anybody looked.
        request.raw.headers['content-type'] = 'application/octet-stream';
      },
    },
    async (request, reply) => {
      const named = readCallbackToken(ctx.secrets.keys, request.params.token);
      if (named) wake(named.jobId);
      return reply.code(204).send();
    },
  );
}

/** Tells at once, and what comes too soon after that together at the end of the time. */
function oncePer(ms: number, tell: (jobId: string) => void): (jobId: string) => void {
  const quiet = new Map<string, { again: boolean }>();
  return function wake(jobId) {
    const since = quiet.get(jobId);
    if (since) return void (since.again = true);
    const state = { again: false };
    quiet.set(jobId, state);
    tell(jobId);
    setTimeout(() => {
      quiet.delete(jobId);
      if (state.again) wake(jobId);
    }, ms).unref();
  };
}
