// Who asks. A key is known by the hash of its whole token, so that no prefix is ever mistaken for a key.
import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import type { Context } from '../context.ts';
import { hashSecret, parseKey, sameHash } from '../domain/api-key.ts';
import { AppError } from '../domain/errors.ts';
import { type PlanTerms, termsFor } from '../domain/plan.ts';
import { findKey, type KnownKey } from '../store/keys.ts';

/** A client, as its key shows it. */
export interface Caller {
  keyId: string;
  accountId: string;
  livemode: boolean;
  terms: PlanTerms;
}

declare module 'fastify' {
  interface FastifyRequest {
    caller: Caller;
    /** The operator's key, on admin routes. */
    operatorKeyId: string;
    /** The JSON body as the client wrote it. */
    rawBody: string;
  }
}

const CACHE_MS = 10_000;
const CACHE_MAX = 10_000;

export interface Authenticator {
  client(request: FastifyRequest): Promise<void>;
  operator(request: FastifyRequest): Promise<void>;
}

export function openAuthenticator(ctx: Context): Authenticator {
  const cache = new Map<string, { key: KnownKey | null; until: number }>();
  ctx.bus.subscribe((wake) => {
    if (wake.type === 'catalogue' || wake.type === 'missed') cache.clear();
  });

  const lookUp = async (token: string): Promise<KnownKey | null> => {
    const parts = parseKey(token);
    if (!parts) return null;
    const hash = createHash('sha256').update(token).digest('base64');
    const known = cache.get(hash);
    if (known && known.until > performance.now()) return known.key;
    const found = await findKey(ctx.flow, parts.lookup);
    const key =
      found && found.mode === parts.mode && sameHash(found.secretHmac, hashSecret(ctx.secrets.pepper, parts))
        ? found
        : null;
    if (cache.size >= CACHE_MAX) cache.delete(cache.keys().next().value ?? '');
    cache.set(hash, { key, until: performance.now() + CACHE_MS });
    return key;
  };

  const keyOf = async (request: FastifyRequest): Promise<KnownKey> => {
    const token = bearer(request);
    if (token === null) throw new AppError('api_key_missing', { headers: { 'www-authenticate': 'Bearer' } });
    const key = await lookUp(token);
    if (!key || key.revoked)
      throw new AppError('api_key_invalid', { headers: { 'www-authenticate': 'Bearer' } });
    if (key.expired) throw new AppError('api_key_expired');
    return key;
  };

  return {
    async client(request) {
      const { id, accountId, livemode, planId, overrides, status } = await keyOf(request);
      if (accountId === null || livemode === null) {
        throw new AppError('scope_denied', {
          message: "An operator's key opens /v1/admin only. Use an account's key here.",
        });
      }
      if (status === 'closed') throw new AppError('account_closed');
      const plan = ctx.catalogue().plans.get(planId ?? '');
      if (!plan) throw new Error(`the account ${accountId} has no plan`);
      request.caller = { keyId: id, accountId, livemode, terms: termsFor(plan, overrides ?? {}) };
    },
    async operator(request) {
      const { id, mode } = await keyOf(request);
      if (mode !== 'admin')
        throw new AppError('scope_denied', { details: { needed: 'admin', granted: mode } });
      request.operatorKeyId = id;
    },
  };
}

function bearer(request: FastifyRequest): string | null {
  const header = request.headers.authorization;
  if (header === undefined) return null;
  const match = /^Bearer +(\S+) *$/i.exec(header);
  return match?.[1] ?? '';
}
