// Who waits for what in this process. A wake-up only says "look again"; and since one may be lost, everybody who waits
// also looks by himself once in a while.
import type { Bus } from './bus.ts';

/** How long anybody waits without looking. */
export const LOOK_ANYWAY_MS = 1_000;
/** A stream is woken no more often: what happens meanwhile is told together, and nobody sees the difference. */
const STREAM_EVERY_MS = 25;

export type Topic =
  /** All that happens to a job. */
  | { jobId: string }
  /** What events tell of it. */
  | { eventsOf: string }
  /** All events of an account. */
  | { accountId: string };

export interface Hub {
  /** Close it. */
  watch(topic: Topic): Watch;
  /** How many watches are open. */
  watching(): number;
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

/** Who watches one thing. */
class Audience {
  readonly watchers = new Set<Watcher>();
  readonly #everyMs: number;
  #wokenAt = -Infinity;
  #timer: NodeJS.Timeout | null = null;

  constructor(everyMs: number) {
    this.#everyMs = everyMs;
  }

  /** At once if it was quiet, else when its time has come; all together, so that they can share what they read. */
  wake(): void {
    if (this.#timer) return;
    const early = this.#wokenAt + this.#everyMs - performance.now();
    if (early > 0) this.#timer = setTimeout(() => this.wakeNow(), early);
    else this.wakeNow();
  }

  wakeNow(): void {
    this.still();
    this.#wokenAt = performance.now();
    for (const watcher of this.watchers) watcher.wake();
  }

  still(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

export function openHub(bus: Bus): Hub {
  const audiences = new Map<string, Audience>();
  const wake = (topic: Topic): void => audiences.get(keyOf(topic))?.wake();
  const unsubscribe = bus.subscribe((event) => {
    if (event.type === 'job') {
      wake({ eventsOf: event.jobId });
      wake({ jobId: event.jobId });
      wake({ accountId: event.accountId });
    } else if (event.type === 'live') {
      wake({ jobId: event.jobId });
    } else if (event.type === 'account') {
      wake({ accountId: event.accountId });
    } else if (event.type === 'missed') {
      for (const audience of audiences.values()) audience.wake();
    }
  });
  return {
    watch(topic) {
      const key = keyOf(topic);
      const watcher = new Watcher();
      const audience = audiences.get(key) ?? new Audience('eventsOf' in topic ? 0 : STREAM_EVERY_MS);
      audiences.set(key, audience);
      audience.watchers.add(watcher);
      return {
        next: (forMs, signal) => watcher.next(forMs, signal),
        close() {
          audience.watchers.delete(watcher);
          if (audience.watchers.size > 0 || audiences.get(key) !== audience) return;
          audience.still();
          audiences.delete(key);
        },
      };
    },
    watching: () => [...audiences.values()].reduce((sum, { watchers }) => sum + watchers.size, 0),
    close() {
      unsubscribe();
      for (const audience of audiences.values()) audience.wakeNow();
    },
  };
}

function keyOf(topic: Topic): string {
  const [[name, id]] = Object.entries(topic) as [[string, string]];
  return `${name}:${id}`;
}
