// What every route works with.
import { readFileSync } from 'node:fs';
import type { Context } from '../context.ts';
import type { Admit } from '../flow/admit.ts';
import type { Announcer } from '../flow/announce.ts';
import type { Shower } from '../flow/show.ts';
import type { FastifyRequest } from 'fastify';
import type { Hub } from '../live/hub.ts';

export interface Api {
  ctx: Context;
  admit: Admit;
  announcer: Announcer;
  shower: Shower;
  hub: Hub;
  /** Null: there is no simulator. */
  simUrl: string | null;
  /** Whether a request came in where operators do: everywhere, unless they have a port of their own. */
  isOperators(request: FastifyRequest): boolean;
  /** Aborted when the process drains: waits are answered, streams are closed. */
  closing: AbortSignal;
}

export const VERSION = (
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
).version;

/** A client's own name for its request; one that is malformed is dropped. */
export function clientRequestId(header: string | string[] | undefined): string | null {
  return typeof header === 'string' && /^[A-Za-z0-9._:-]{1,128}$/.test(header) ? header : null;
}
