// How a call is ended from our side.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Kind } from '../domain/job.ts';
import type { Call, Provider, Route } from '../providers/provider.ts';

/** `leave`: the worker itself is going, or no longer owns the job. */
export type StopReason = 'cancel' | 'deadline' | 'time_limit' | 'leave';

/** An attempt's brake, pulled by the worker and by the attempt's own timers. */
export interface Brake {
  /** Somebody wants the job ended: its client, the operator, its deadline. */
  readonly asked: AbortSignal;
  /** The call must end at once, whatever was asked before and is still waited for. */
  readonly leaving: AbortSignal;
  pull(reason: StopReason): void;
}

export function openBrake(): Brake {
  const asked = new AbortController();
  const leaving = new AbortController();
  return {
    asked: asked.signal,
    leaving: leaving.signal,
    pull: (reason) => (reason === 'leave' ? leaving : asked).abort(reason),
  };
}

const MINUTE = 60_000;
/** Contract 19: how long one attempt may take. */
const ATTEMPT_LIMIT_MS: Record<Kind, number> = {
  chat: 10 * MINUTE,
  image: 5 * MINUTE,
  tts: 5 * MINUTE,
  stt: 30 * MINUTE,
};
const ASK_FIRST_MS = 100;
const ASK_MAX_MS = 5_000;
const TIMER_MAX_MS = 2 ** 31 - 1;

export interface Braking {
  brake: Brake;
  /** Ends the call. */
  inner: AbortController;
  provider: Provider;
  route: Route;
  call: Call;
  /** Until the job's deadline. */
  remainingMs: number;
}

export interface Braked {
  /** Why the call was ended by us, or by the provider at our word; null if it was not. */
  reason(): Promise<StopReason | null>;
  release(): void;
}

/**
 * Carries the brake over to the call. Chat stops at once. Other kinds may be billed whole, so a stop is first put to the
 * provider, and only what it confirms ends the call; else the work is awaited and paid (contract 7).
 */
export function applyBrake({ brake, inner, provider, route, call, remainingMs }: Braking): Braked {
  // Aborted with a reason of our own everywhere, since the default one is an error with a stack, made for nothing.
  const over = new AbortController();
  let answer: Promise<StopReason | null> = Promise.resolve(null);
  const onAsked = (): void => {
    const reason = brake.asked.reason as StopReason;
    if (call.kind === 'chat') return inner.abort(reason);
    answer = askToStop({ provider, route, call }, over.signal).then((confirmed) => {
      if (!confirmed) return null;
      inner.abort(reason);
      return reason;
    });
  };
  const onLeaving = (): void => inner.abort('leave' satisfies StopReason);
  on(brake.asked, onAsked);
  on(brake.leaving, onLeaving);
  const limit = setTimeout(() => inner.abort('time_limit' satisfies StopReason), ATTEMPT_LIMIT_MS[call.kind]);
  const deadline = setTimeout(() => brake.pull('deadline'), Math.min(remainingMs, TIMER_MAX_MS));
  return {
    async reason() {
      if (inner.signal.aborted) return inner.signal.reason as StopReason;
      over.abort('over');
      // The call's own end may overtake the provider's word that it has stopped it.
      return answer;
    },
    release() {
      clearTimeout(limit);
      clearTimeout(deadline);
      over.abort('over');
      brake.asked.removeEventListener('abort', onAsked);
      brake.leaving.removeEventListener('abort', onLeaving);
    },
  };
}

/** Asks until the provider confirms or the call is over: it may not have heard of the call yet, or be out of reach. */
async function askToStop(
  { provider, route, call }: Pick<Braking, 'provider' | 'route' | 'call'>,
  over: AbortSignal,
): Promise<boolean> {
  if (!provider.stop) return false;
  for (let wait = ASK_FIRST_MS; ; wait = Math.min(wait * 2, ASK_MAX_MS)) {
    if (await provider.stop(route, call).catch(() => false)) return true;
    if (over.aborted) return false;
    await sleep(wait, undefined, { signal: over }).catch(() => {});
    if (over.aborted) return false;
  }
}

function on(signal: AbortSignal, act: () => void): void {
  if (signal.aborted) act();
  else signal.addEventListener('abort', act, { once: true });
}
