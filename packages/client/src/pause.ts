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
