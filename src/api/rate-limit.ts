import type { FastifyInstance, FastifyRequest } from 'fastify';
import { AppError } from '../domain/errors.ts';

const REQUESTS_A_SECOND = 2_000;

/** @throws AppError rate_limited */
export type RateLimit = (request: FastifyRequest) => Promise<void>;

/** Requests a second a key; a window that every process keeps for itself. */
export function openRateLimit(app: FastifyInstance): RateLimit {
  const count = app.createRateLimit({
    max: REQUESTS_A_SECOND,
    timeWindow: 1_000,
    keyGenerator: (request) => request.caller.keyId,
  });
  return async (request) => {
    const seen = await count(request);
    if (seen.isAllowed || !seen.isExceeded) return;
    const ms = Math.max(1, seen.ttl);
    throw new AppError('rate_limited', {
      details: { limit: REQUESTS_A_SECOND, window: 'second' },
      headers: { 'retry-after': String(Math.ceil(ms / 1000)), 'retry-after-ms': String(ms) },
    });
  };
}
