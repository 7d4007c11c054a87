/** Resolves after so many milliseconds. @throws the signal's reason once it is aborted */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, ms);
    if (signal?.aborted) stop();
    else signal?.addEventListener('abort', stop, { once: true });
  });
}

/** Before the n-th try, from 0: doubles from 250 ms to 8 s, half of it by chance. */
export function backOff(tries: number): number {
  const most = Math.min(8_000, 250 * 2 ** tries);
  return most / 2 + (Math.random() * most) / 2;
}

/** A connection that held for so long was a good one, whether or not there was anything to hear: what breaks it is no repeat. */
const LASTED_MS = 10_000;
export const lasted = (since: number): boolean => performance.now() - since > LASTED_MS;

/** What `work` brings. @throws the signal's reason once it is aborted, whatever `work` makes of that */
export function orAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal?.reason as Error);
    const over = (): void => signal?.removeEventListener('abort', stop);
    signal?.addEventListener('abort', stop, { once: true });
    if (signal?.aborted) stop();
    work.then(resolve, reject).finally(over);
  });
}
