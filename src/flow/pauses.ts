// Who waits for a vendor in this process. A call that comes before anybody waits ends the next wait.

/** A vendor that calls and calls makes nobody poll more often than this. */
const WOKEN_EVERY_MS = 250;

export interface Pause {
  /** Resolves after so many ms, once somebody called since the last wait began, or once `signal` is aborted. */
  wait(ms: number, signal: AbortSignal): Promise<void>;
  close(): void;
}

/** The attempts under way in this process, by job. */
export class Pauses {
  readonly #open = new Map<string, Waiter>();

  open(jobId: string): Pause {
    const waiter = new Waiter();
    this.#open.set(jobId, waiter);
    return {
      wait: (ms, signal) => waiter.wait(ms, signal),
      // Only if it is still that attempt's: the same job may run here again.
      close: () => void (this.#open.get(jobId) === waiter && this.#open.delete(jobId)),
    };
  }

  end(jobId: string): void {
    this.#open.get(jobId)?.call();
  }
}

class Waiter {
  #called = false;
  #wokenAt = -Infinity;
  #hear: () => void = () => {};

  call(): void {
    this.#called = true;
    this.#hear();
  }

  async wait(ms: number, signal: AbortSignal): Promise<void> {
    const until = performance.now() + ms;
    while (!signal.aborted && performance.now() < until) {
      const heardAt = Math.max(performance.now(), this.#wokenAt + WOKEN_EVERY_MS);
      if (this.#called && heardAt <= performance.now()) {
        this.#wokenAt = performance.now();
        break;
      }
      await this.#sleep((this.#called ? Math.min(heardAt, until) : until) - performance.now(), signal);
    }
    this.#called = false;
  }

  #sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        this.#hear = () => {};
        resolve();
      };
      const timer = setTimeout(done, Math.max(0, Math.ceil(ms)));
      this.#hear = done;
      signal.addEventListener('abort', done, { once: true });
    });
  }
}
