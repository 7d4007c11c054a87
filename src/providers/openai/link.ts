// What images, speech and transcriptions share: one request, one answer, and what becomes of them.
import type { Agent } from 'undici';
import { members, rewriteObject } from '../../domain/json-members.ts';
import { takesField } from '../../domain/usual-fields.ts';
import { type Ended, evidenceOf, exchange, type Request, targetOf } from '../exchange.ts';
import { failureOf } from '../failure.ts';
import type { Call, CallResult, Route } from '../provider.ts';
import type { Secrets } from '../vendor-error.ts';
import { headersFor, type Limits } from './chat.ts';

export interface Link {
  agent: Agent;
  /** Of the call's kind. */
  limits: Limits;
}

export interface Asked {
  route: Route;
  call: Call;
}

export const secretsOf = ({ route, call }: Asked): Secrets => ({ apiKey: route.apiKey, input: call.input });

/** @param content headers that say what the body is, where it is no JSON */
export function post(
  { agent, limits }: Link,
  { route, call }: Asked,
  request: Pick<Request, 'path' | 'body' | 'maxBytes'> &
    Partial<Pick<Request, 'sink' | 'idleMs'>> & { content?: readonly string[] },
): Promise<Ended> {
  const { path, content, ...rest } = request;
  const { origin, path: root } = targetOf(route.baseUrl);
  return exchange(agent, {
    method: 'POST',
    origin,
    path: `${root}${path}`,
    headers: headersFor(route, call, content),
    signal: call.signal,
    totalMs: limits.totalMs,
    idleMs: 0,
    ...rest,
  });
}

/** What `read` makes of a success that came whole; else what it failed by. */
export async function resultOf(
  ended: Ended,
  asked: Asked,
  read: (ended: Ended) => CallResult | Promise<CallResult>,
): Promise<CallResult> {
  if (ended.how === 'stopped') return { type: 'stopped', text: '', usage: null, evidence: evidenceOf(ended) };
  return failureOf(ended, secretsOf(asked)) ?? read(ended);
}

/** The client's input as it came, without what the upstream does not take. @param set as in rewriteObject */
export function bodyFor({ route, call }: Asked, set: Record<string, string | null>): string {
  const { kind, input } = call;
  if (kind === 'chat') throw new Error('a chat travels as it is');
  const left = members(input)
    .map(({ name }) => name)
    .filter((name) => name === 'sim' || !takesField(kind, route.data, name));
  return rewriteObject(input, { ...set, ...Object.fromEntries(left.map((name) => [name, null])) });
}
