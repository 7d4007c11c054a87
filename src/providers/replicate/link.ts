// What every request to Replicate's API shares: where it is, who asks, and how much may come back.
import type { Agent } from 'undici';
import type { Kind } from '../../domain/job.ts';
import { type Ended, exchange, type Request, targetOf } from '../exchange.ts';
import type { Call, Route } from '../provider.ts';
import type { Pace } from '../remote.ts';
import type { Secrets } from '../vendor-error.ts';

export const CONTROL_MS = 15_000;
/** A prediction holds its input and may hold its output as data: URIs. */
export const MOST_PREDICTION_BYTES = 160 << 20;

export interface Link {
  agent: Agent;
  /** Most ms of one attempt, by kind. */
  totalMs: Record<Kind, number>;
  /** Most ms until the submitted work has its name. */
  submitMs: number;
  pace: Pace;
  /** Between two looks for work whose name was lost, and between two tries to fetch an output, in ms. */
  againMs: readonly number[];
}

export interface Asked {
  route: Route;
  call: Call;
}

export const secretsOf = ({ route, call }: Asked): Secrets => ({ apiKey: route.apiKey, input: call.input });

export const originOf = (route: Route): string => targetOf(route.baseUrl).origin;

export function headersOf({ apiKey }: Route): string[] {
  const headers = ['content-type', 'application/json', 'user-agent', 'millrace'];
  return apiKey === null ? headers : [...headers, 'authorization', `Bearer ${apiKey}`];
}

type Ask = Partial<Pick<Request, 'body' | 'headers' | 'signal' | 'totalMs' | 'maxBytes'>> & {
  method: 'GET' | 'POST';
  /** From the root of the API. */
  path: string;
};

/** Bodies of errors apart, answers are whole or the exchange says why not. */
export function ask({ agent }: Link, route: Route, { method, path, ...rest }: Ask): Promise<Ended> {
  const target = targetOf(route.baseUrl);
  return exchange(agent, {
    method,
    origin: target.origin,
    path: target.path + path,
    headers: headersOf(route),
    body: null,
    signal: new AbortController().signal,
    totalMs: CONTROL_MS,
    idleMs: 0,
    maxBytes: MOST_PREDICTION_BYTES,
    ...rest,
  });
}
