import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Context } from '../context.ts';

type RouteCount = ReturnType<Context['counts']['route']>;

type Hook = (request: FastifyRequest, reply: FastifyReply, done: () => void) => void;

/**
 * Counts the answers of routes added from now on, each into its own place, so that no request is looked up by its path. An
 * address that is no route's is counted under the route `none`.
 */
export function countRequests(app: FastifyInstance, counts: Context['counts']): void {
  const into =
    (count: RouteCount): Hook =>
    (_request, reply, done) => {
      count.note(reply.statusCode, reply.elapsedTime / 1000);
      done();
    };
  app.addHook('onRoute', (route) => {
    const count = counts.route([route.method].flat().join(' '), route.url);
    route.onResponse = [route.onResponse ?? [], into(count)].flat() as Hook[];
  });
  const none = into(counts.route('any', 'none'));
  app.addHook('onResponse', (request, reply, done) => {
    if (!request.is404) return done();
    none(request, reply, done);
  });
}
