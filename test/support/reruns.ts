// What a kill cut off, and when it was run again.
import { eventually } from './eventually.ts';
import { openCalls, type SimCall, simCalls } from './sim-log.ts';

/** Waits until at least so many calls are open, and answers them. */
export function whileCallsAreOpen(simUrl: string, atLeast: number): Promise<SimCall[]> {
  return eventually(
    async () => {
      const open = await openCalls(simUrl);
      return open.length >= atLeast && open;
    },
    { what: `${atLeast} calls are open`, withinMs: 30_000, everyMs: 10 },
  );
}

/**
 * Of the calls of `open`, those that were cut off (their sockets ended first): each one's job's next call, once it has begun.
 * Empty if all of them came to their end.
 */
export function rerunsOf(
  simUrl: string,
  { open, withinMs }: { open: readonly SimCall[]; withinMs: number },
): Promise<SimCall[]> {
  const wanted = new Set(open.map(nameOf));
  return eventually(
    async () => {
      const calls = await simCalls(simUrl);
      const watched = calls.filter((call) => wanted.has(nameOf(call)));
      if (watched.some(({ endedNs }) => endedNs === null)) return null;
      const again = watched
        .filter(({ outcome }) => outcome === 'gone')
        .map((call) => calls.find(({ jobId, attempt }) => jobId === call.jobId && attempt > call.attempt));
      return again.every((call) => call !== undefined) && again;
    },
    { what: 'every call that was cut off is made again', withinMs, everyMs: 100 },
  );
}

const nameOf = ({ jobId, attempt }: SimCall): string => `${jobId}-${attempt}`;
