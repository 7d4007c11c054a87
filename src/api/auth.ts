// Who asks. A key is known by the hash of its whole token, so that no prefix is ever mistaken for a key.
import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import type { Context } from '../context.ts';
import { parseKey } from '../domain/api-key.ts';
import { AppError } from '../domain/errors.ts';
import { type PlanTerms, termsFor } from '../domain/plan.ts';
import { notOpen } from '../domain/standing.ts';
import { knownKey } from '../flow/known-key.ts';
import type { KnownKey } from '../store/keys.ts';
import type { RateLimit } from './rate-limit.ts';

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
  }
}

const CACHE_MS = 10_000;
const CACHE_MAX = 10_000;
/** RFC 9110, 11.6.1: how to come in. */
const CHALLENGE = { 'www-authenticate': 'Bearer' };

export interface Authenticator {
  client(request: FastifyRequest): Promise<void>;
  operator(request: FastifyRequest): Promise<void>;
}

/** @param limit counts a client's requests, before anything of them is read */
export function openAuthenticator(ctx: Context, limit: RateLimit): Authenticator {
  const known = new Remembered<KnownKey>();
  // Apart from the known ones, which no flood of invented keys may push out.
  const unknown = new Remembered<null>();
  ctx.bus.subscribe((wake) => {
    if (wake.type !== 'catalogue' && wake.type !== 'missed') return;
    known.clear();
    unknown.clear();
  });

  const lookUp = async (token: string): Promise<KnownKey | null> => {
    if (!parseKey(token)) return null;
    const hash = createHash('sha256').update(token).digest('base64');
    const remembered = known.get(hash) ?? unknown.get(hash);
    if (remembered !== undefined) return remembered;
    const key = await knownKey(ctx, token);
    if (key) known.set(hash, key);
    else unknown.set(hash, null);
    return key;
  };

  const keyOf = async (request: FastifyRequest): Promise<KnownKey> => {
    const token = bearer(request);
    if (token === null) throw new AppError('api_key_missing', { headers: CHALLENGE });
    const key = await lookUp(token);
    if (!key || key.revoked) throw new AppError('api_key_invalid', { headers: CHALLENGE });
    if (key.expired) throw new AppError('api_key_expired', { headers: CHALLENGE });
    return key;
  };

  return {
    async client(request) {
      const { id, mode, accountId, livemode, planId, overrides, status, statusSince } = await keyOf(request);
      if (accountId === null || livemode === null) {
        throw new AppError('scope_denied', {
          message: "An operator's key opens /v1/admin only. Use an account's key here.",
          details: { needed: 'live or test', granted: mode },
        });
      }
      if (status === 'closed' && statusSince) throw notOpen({ status, statusSince }, ctx.config.supportUrl);
      const plan = ctx.catalogue().plans.get(planId ?? '');
      if (!plan) throw new Error(`the account ${accountId} has no plan`);
      request.caller = { keyId: id, accountId, livemode, terms: termsFor(plan, overrides ?? {}) };
      await limit(request);
    },
    async operator(request) {
      const { id, mode } = await keyOf(request);
      if (mode !== 'admin')
        throw new AppError('scope_denied', {
          message: "This is an account's key. /v1/admin takes an operator's key only.",
          details: { needed: 'admin', granted: mode },
        });
      request.operatorKeyId = id;
    },
  };
}

/** What was looked up of late, by the hash of the token; the oldest goes first. */
class Remembered<T> {
  readonly #all = new Map<string, { value: T; until: number }>();

  /** Undefined: nothing is remembered. */
  get(hash: string): T | undefined {
    const entry = this.#all.get(hash);
    return entry && entry.until > performance.now() ? entry.value : undefined;
  }

  set(hash: string, value: T): void {
    if (this.#all.size >= CACHE_MAX) this.#all.delete(this.#all.keys().next().value ?? '');
    // Taken out first, so that it goes to the end of the line.
    this.#all.delete(hash);
    this.#all.set(hash, { value, until: performance.now() + CACHE_MS });
  }

  clear(): void {
    this.#all.clear();
  }
}

function bearer(request: FastifyRequest): string | null {
  const header = request.headers.authorization;
  if (header === undefined) return null;
  const match = /^Bearer +(\S+) *$/i.exec(header);
  return match?.[1] ?? '';
}
