// How a call is ended from our side.
import { setTimeout as sleep } from 'node:timers/promises';
import { ATTEMPT_LIMIT_MS } from '../domain/attempt-limit.ts';
import type { Kind } from '../domain/job.ts';
import type { Provider, Route, WorkKey } from '../providers/provider.ts';

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

const ASK_FIRST_MS = 100;
const ASK_MAX_MS = 5_000;
const TIMER_MAX_MS = 2 ** 31 - 1;

/** The work that is waited for at present: the attempt's own, or an earlier one's. */
export interface Target {
  provider: Provider;
  route: Route;
  key: WorkKey;
}

export interface Braking {
  brake: Brake;
  /** Ends the call. */
  inner: AbortController;
  kind: Kind;
  /** Null: nothing was begun so far. */
  target(): Target | null;
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
export function applyBrake({ brake, inner, kind, target, remainingMs }: Braking): Braked {
  // Aborted with a reason of our own everywhere, since the default one is an error with a stack, made for nothing.
  const over = new AbortController();
  let answer: Promise<StopReason | null> = Promise.resolve(null);
  const onAsked = (): void => {
    const reason = brake.asked.reason as StopReason;
    if (kind === 'chat') {
      inner.abort(reason);
      return void endNamed(target);
    }
    answer = askToStop(target, over.signal).then((confirmed) => {
      if (!confirmed) return null;
      inner.abort(reason);
      return reason;
    });
  };
  const onLeaving = (): void => inner.abort('leave' satisfies StopReason);
  const onLimit = (): void => {
    inner.abort('time_limit' satisfies StopReason);
    void endNamed(target);
  };
  on(brake.asked, onAsked);
  on(brake.leaving, onLeaving);
  const limit = setTimeout(onLimit, ATTEMPT_LIMIT_MS[kind]);
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
async function askToStop(target: Braking['target'], over: AbortSignal): Promise<boolean> {
  for (let wait = ASK_FIRST_MS; ; wait = Math.min(wait * 2, ASK_MAX_MS)) {
    const work = target();
    // Whose it is may change meanwhile, and then nobody has stopped what is waited for now.
    if (work && (await stopWork(work)) && target()?.key.attempt === work.key.attempt) return true;
    if (over.aborted || (work && !work.provider.stop)) return false;
    await sleep(wait, undefined, { signal: over }).catch(() => {});
    if (over.aborted) return false;
  }
}

const stopWork = async ({ provider, route, key }: Target): Promise<boolean> =>
  (await provider.stop?.(route, key).catch(() => false)) ?? false;

/**
 * Ends what goes on at the vendor after we hung up: only work that has a name does. The name may come a moment later, with
 * the answer to what had just been sent. Nobody waits for this, and no money hangs on it but the operator's.
 */
async function endNamed(target: Braking['target']): Promise<void> {
  for (let wait = ASK_FIRST_MS; wait < ASK_MAX_MS; wait *= 2) {
    const work = target();
    if (work && work.key.remoteId !== null && (await stopWork(work))) return;
    await sleep(wait, undefined, { ref: false });
  }
}

function on(signal: AbortSignal, act: () => void): void {
  if (signal.aborted) act();
  else signal.addEventListener('abort', act, { once: true });
}
