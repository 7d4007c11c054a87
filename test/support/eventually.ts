import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Asks until the answer is neither null nor false, and gives it back. A question that fails counts as no answer yet: what
 * it asks may just be down.
 */
export async function eventually<T>(
  ask: () => Promise<T | null | false> | T | null | false,
  { what, withinMs, everyMs = 50 }: { what: string; withinMs: number; everyMs?: number },
): Promise<T> {
  const deadline = performance.now() + withinMs;
  let trouble: unknown = null;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== null && answer !== false) return answer;
      trouble = null;
    } catch (error) {
      trouble = error;
    }
    if (performance.now() > deadline) {
      throw new Error(`not within ${withinMs} ms: ${what}`, trouble === null ? {} : { cause: trouble });
    }
    await sleep(everyMs);
  }
}
