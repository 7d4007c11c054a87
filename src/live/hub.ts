// Who waits for what in this process. A wake-up only says "look again"; and since one may be lost, everybody who waits
// also looks by himself once in a while.
import type { Bus } from './bus.ts';

/** How long anybody waits without looking. */
export const LOOK_ANYWAY_MS = 1_000;

export interface Hub {
  /** A watch on one job, or on all of an account. Close it. */
  watch(topic: { jobId: string } | { accountId: string }): Watch;
  close(): void;
}

export interface Watch {
  /** Resolves at the next wake-up since the last call, after `forMs` at the latest, or once `signal` is aborted. */
  next(forMs: number, signal?: AbortSignal): Promise<void>;
  close(): void;
}

class Watcher {
  #woken = false;
  #resolve: (() => void) | null = null;

  wake(): void {
    this.#woken = true;
    this.#resolve?.();
  }

  async next(forMs: number, signal?: AbortSignal): Promise<void> {
    if (!this.#woken && !signal?.aborted) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(done, forMs);
        function done(): void {
          clearTimeout(timer);
          signal?.removeEventListener('abort', done);
          resolve();
        }
        signal?.addEventListener('abort', done, { once: true });
        this.#resolve = done;
      });
      this.#resolve = null;
    }
    this.#woken = false;
  }
}

export function openHub(bus: Bus): Hub {
  const watchers = new Map<string, Set<Watcher>>();
  const wake = (key: string): void => {
    for (const watcher of watchers.get(key) ?? []) watcher.wake();
  };
  const unsubscribe = bus.subscribe((event) => {
    if (event.type === 'job') {
      wake(event.jobId);
      wake(event.accountId);
    } else if (event.type === 'account') {
      wake(event.accountId);
    }
  });
  return {
    watch(topic) {
      const key = 'jobId' in topic ? topic.jobId : topic.accountId;
      const watcher = new Watcher();
      const set = watchers.get(key) ?? new Set();
      watchers.set(key, set.add(watcher));
      return {
        next: (forMs, signal) => watcher.next(forMs, signal),
        close() {
          set.delete(watcher);
          if (set.size === 0) watchers.delete(key);
        },
      };
    },
    close() {
      unsubscribe();
      for (const set of watchers.values()) for (const watcher of set) watcher.wake();
    },
  };
}
