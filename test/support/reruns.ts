// What a kill cut off, and how long it took until it was run again.
import { openCalls, type SimCall, simCalls } from './sim-log.ts';
import { eventually } from './eventually.ts';

export interface Rerun {
  jobId: string;
  /** From the kill to the start of the job's next call. */
  ms: number;
}

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
 * The calls of `open` whose caller died at `at` (the simulator saw their sockets end), each with its job's next call.
 * Throws if one has none within `withinMs` of the kill.
 */
export async function victimsOf(
  simUrl: string,
  { open, at, withinMs }: { open: readonly SimCall[]; at: number; withinMs: number },
): Promise<Rerun[]> {
  const wanted = new Set(open.map(({ jobId, attempt }) => `${jobId}-${attempt}`));
  return eventually(
    async () => {
      const calls = await simCalls(simUrl);
      const cut = calls.filter(
        (call) => wanted.has(`${call.jobId}-${call.attempt}`) && call.outcome === 'gone',
      );
      if (cut.length === 0) return null;
      const again = cut.map((call) => nextCall(calls, call));
      return again.every((next) => next !== null)
        ? again.map((next) => ({ jobId: next.jobId, ms: next.startedAt - at }))
        : null;
    },
    { what: 'every call that was cut off is made again', withinMs: at + withinMs - Date.now(), everyMs: 100 },
  );
}

function nextCall(calls: readonly SimCall[], { jobId, attempt }: SimCall): SimCall | null {
  return calls.find((call) => call.jobId === jobId && call.attempt > attempt) ?? null;
}
