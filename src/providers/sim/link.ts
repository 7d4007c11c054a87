// What every call of the simulator shares: where it is, who calls, and what becomes of an exchange that is no stream.
import type { Agent } from 'undici';
import type { Kind } from '../../domain/job.ts';
import { type Ended, evidenceOf, type Request, targetOf } from '../exchange.ts';
import { headersFor } from '../openai/chat.ts';
import type { Call, CallKey, CallResult, Route } from '../provider.ts';
import type { Secrets } from '../vendor-error.ts';

export interface Link {
  agent: Agent;
  /** The simulator's address, without a path. */
  url: string;
  /** Most ms of one attempt, by kind. */
  totalMs: Record<Kind, number>;
  /** Most ms without a byte of a chat stream. */
  idleMs: number;
}

export interface Asked {
  route: Route;
  call: Call;
}

/** What an answer of one kind becomes, whether it came at once, was polled for, or was looked up. */
export type Reader = (ended: Ended) => CallResult;

/** Who calls. No other vendor is told. */
export const identity = ({ accountId, jobId, attempt }: CallKey): string[] => [
  'x-millrace-account',
  accountId,
  'x-millrace-job',
  jobId,
  'x-millrace-attempt',
  String(attempt),
];

export const secretsOf = ({ route, call }: Asked): Secrets => ({ apiKey: route.apiKey, input: call.input });

/** A request on behalf of a call; `path` from the simulator's root. */
export function requestFor(
  link: Link,
  { route, call }: Asked,
  path: string,
  content?: readonly string[],
): Omit<Request, 'body' | 'maxBytes'> {
  const target = targetOf(link.url);
  return {
    method: 'POST',
    origin: target.origin,
    path: `${target.path}${path}`,
    headers: [...headersFor(route, call, content), ...identity(call)],
    signal: call.signal,
    totalMs: link.totalMs[call.kind],
    idleMs: 0,
  };
}

export const stopped = (ended: Ended): CallResult => ({
  type: 'stopped',
  text: '',
  usage: null,
  evidence: evidenceOf(ended),
});
