// Who asks. A key is known by the hash of its whole token, so that no prefix is ever mistaken for a key.
import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import type { Context } from '../context.ts';
import { parseKey } from '../domain/api-key.ts';
import { AppError } from '../domain/errors.ts';
import { type PlanTerms, termsFor } from '../domain/plan.ts';
import { notOpen } from '../domain/standing.ts';
import { knownKey } from '../flow/known-key.ts';
import { takeTicket } from '../flow/tickets.ts';
import { findKeys, type KnownKey } from '../store/keys.ts';
import type { RateLimit } from './rate-limit.ts';
import type { TicketScope } from './ticket-scope.ts';

/** A client, as its key shows it. */
export interface Caller {
  keyId: string;
  accountId: string;
  livemode: boolean;
  terms: PlanTerms;
  /** What is refused to a suspended account is refused with; null: it is none. */
  suspended: AppError | null;
}

declare module 'fastify' {
  interface FastifyRequest {
    caller: Caller;
    /** What let it in, if that was no key. */
    ticket?: TicketScope;
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
  /** By key, or by `?ticket=`, which browsers can send where they can send no header. One that opens once has opened then. */
  clientOrTicket(request: FastifyRequest): Promise<void>;
  /** Asked again of a request that is open for long. @throws AppError if what let it in is no longer good */
  stillGood(request: FastifyRequest): Promise<void>;
  /** The same of many keys by their ids, past all that is remembered. */
  callersOf(keyIds: readonly string[]): Promise<Map<string, Caller | AppError>>;
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

  const callerOf = (key: KnownKey): Caller => {
    const { id, mode, accountId, livemode, planId, overrides, status, statusSince } = key;
    if (accountId === null || livemode === null) {
      throw new AppError('scope_denied', {
        message: "An operator's key opens /v1/admin only. Use an account's key here.",
        details: { needed: 'live or test', granted: mode },
      });
    }
    if (status === 'closed' && statusSince) throw notOpen({ status, statusSince }, ctx.config.supportUrl);
    const plan = ctx.catalogue().plans.get(planId ?? '');
    if (!plan) throw new Error(`the account ${accountId} has no plan`);
    return {
      keyId: id,
      accountId,
      livemode,
      terms: termsFor(plan, overrides ?? {}),
      suspended:
        status === 'suspended' && statusSince
          ? notOpen({ status, statusSince }, ctx.config.supportUrl)
          : null,
    };
  };

  const goodCaller = (key: KnownKey | undefined): Caller | AppError => {
    if (!key || key.revoked) return new AppError('api_key_invalid');
    if (key.expired) return new AppError('api_key_expired');
    try {
      return callerOf(key);
    } catch (error) {
      if (error instanceof AppError) return error;
      throw error;
    }
  };

  const callersOf: Authenticator['callersOf'] = async (keyIds) => {
    const keys = await findKeys(ctx.flow, keyIds);
    return new Map(keyIds.map((id) => [id, goodCaller(keys.get(id))]));
  };

  /** A ticket is as good as the key that made it. */
  const callerOfTicket = async (keyId: string): Promise<Caller> => {
    const caller = (await callersOf([keyId])).get(keyId);
    if (!(caller instanceof AppError) && caller) return caller;
    throw caller?.code === 'account_closed' ? caller : new AppError('ticket_invalid');
  };

  const client: Authenticator['client'] = async (request) => {
    request.caller = callerOf(await keyOf(request));
    await limit(request);
  };

  return {
    client,
    async clientOrTicket(request) {
      const { ticket: token } = request.query as { ticket?: unknown };
      if (token === undefined) return client(request);
      const { keyId, jobs, leftMs } = await takeTicket(ctx, typeof token === 'string' ? token : '');
      request.caller = await callerOfTicket(keyId);
      const until = jobs ? performance.now() + leftMs : Infinity;
      request.ticket = { jobs: jobs && new Set(jobs), until };
      await limit(request);
    },
    async stillGood(request) {
      const { ticket, caller } = request;
      if (!ticket) return client(request);
      if (ticket.until <= performance.now()) throw new AppError('ticket_invalid');
      request.caller = await callerOfTicket(caller.keyId);
    },
    callersOf,
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
