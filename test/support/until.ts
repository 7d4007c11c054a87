import { setTimeout as sleep } from 'node:timers/promises';

/** Looks until it is so. @throws once that took longer than `forMs`, which is there for a hung test and measures nothing */
export async function until(
  is: () => boolean | Promise<boolean>,
  forMs = 20_000,
  pauseMs = 10,
): Promise<void> {
  const end = performance.now() + forMs;
  while (!(await is())) {
    if (performance.now() > end) throw new Error(`it did not come to be so in ${forMs} ms: ${is}`);
    await sleep(pauseMs);
  }
}
