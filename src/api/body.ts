// JSON bodies: looked over before they are parsed, and kept as they came.
import type { FastifyInstance } from 'fastify';
import { AppError } from '../domain/errors.ts';
import { checkJson } from '../domain/json-gate.ts';

export const MIB = 1024 * 1024;
export const BODY_MAX_BYTES = 4 * MIB;
export const BATCH_MAX_BYTES = 16 * MIB;
const LIMITS = { maxDepth: 64, maxKeys: 10_000 };
const BATCH_LIMITS = { maxDepth: 64, maxKeys: 100_000 };

export function installBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.decorateRequest('rawBody', '');
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, bytes, done) => {
    const limits = request.routeOptions.bodyLimit === BATCH_MAX_BYTES ? BATCH_LIMITS : LIMITS;
    const fault = checkJson(bytes as Buffer, limits);
    if (fault) {
      const { offset, reason } = fault;
      return done(
        new AppError('invalid_json', {
          message: `The body is not acceptable JSON at byte ${offset}: ${reason}.`,
          details: { offset },
        }),
      );
    }
    request.rawBody = (bytes as Buffer).toString('utf8');
    done(null, JSON.parse(request.rawBody) as unknown);
  });
}
