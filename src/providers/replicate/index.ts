// Models on Replicate, or on a server of its dialect: submitted, then polled for, of all four kinds.
import { ATTEMPT_LIMIT_MS } from '../../domain/attempt-limit.ts';
import type { Kind } from '../../domain/job.ts';
import { PROVIDER_KINDS } from '../../domain/providers.ts';
import { openAgent } from '../exchange.ts';
import type { Provider, Route, WorkKey } from '../provider.ts';
import type { Pace } from '../remote.ts';
import { look } from './follow.ts';
import { ask, type Link } from './link.ts';
import { find } from './list.ts';
import { predictionIn } from './prediction.ts';
import { submit } from './submit.ts';

export interface ReplicateOptions {
  /** Bounds of one attempt, by default those of contract 19; and of the submit alone. */
  totalMs?: Partial<Record<Kind, number>>;
  submitMs?: number;
  pace?: Pace;
  /** Pauses between looks for work whose name was lost, and between tries to fetch an output, in ms. */
  againMs?: readonly number[];
}

export function replicateProvider({
  totalMs,
  submitMs = 60_000,
  // A poll costs one of 3,000 requests a minute that an account may make.
  pace = { firstMs: 500, mostMs: 5_000 },
  againMs = [500, 1_000, 2_000, 4_000],
}: ReplicateOptions = {}): Provider {
  const link: Link = {
    agent: openAgent(),
    totalMs: { ...ATTEMPT_LIMIT_MS, ...totalMs },
    submitMs,
    pace,
    againMs,
  };
  return {
    name: 'replicate',
    kinds: PROVIDER_KINDS.replicate,
    call: (route, call) => submit(link, { route, call }),
    stop: (route, key) => stop(link, route, key),
    async lookup(route, call, { remoteId, callbackUrl }) {
      const id = remoteId ?? (await find(link, route, { callbackUrl, signal: call.signal }));
      if (id === null) return null;
      if (remoteId === null) await call.onRemoteId(id);
      return look(link, { route, call }, id);
    },
    close: () => link.agent.destroy(),
  };
}

/**
 * Confirmed once the prediction says that it was canceled: what had run until then may cost the operator, the client's result is
 * not made. One that was done before stays succeeded.
 */
async function stop(link: Link, route: Route, { remoteId, callbackUrl }: WorkKey): Promise<boolean> {
  const { signal } = new AbortController();
  const id = remoteId ?? (await find(link, route, { callbackUrl, signal, tries: 1 }));
  if (id === null) return false;
  const asked = predictionIn(await ask(link, route, { method: 'POST', path: `/predictions/${id}/cancel` }));
  if (isOver(asked?.status)) return true;
  return isOver(predictionIn(await ask(link, route, { method: 'GET', path: `/predictions/${id}` }))?.status);
}

const isOver = (status: unknown): boolean => status === 'canceled' || status === 'aborted';
