// What a kill cut off, and when it was run again.
import { eventually } from './eventually.ts';
import type { Kill } from './fleet.ts';
import { openCalls, type SimCall, simCalls } from './sim-log.ts';

/** Waits until at least so many calls are open, and answers them. `last`: how far back the log is looked through. */
export function whileCallsAreOpen(simUrl: string, atLeast: number, last?: number): Promise<SimCall[]> {
  return eventually(
    async () => {
      const open = await openCalls(simUrl, last);
      return open.length >= atLeast && open;
    },
    { what: `${atLeast} calls are open`, withinMs: 120_000, everyMs: 10 },
  );
}

export interface Cut extends Kill {
  /** Calls that were open just before. */
  open: number;
  /** The next call of each job whose call was cut off. */
  reruns: SimCall[];
}

/**
 * Kills while at least `atLeast` calls are open, and waits until what that cut off is called again.
 * @throws if it is not within `withinMs`
 */
export async function killAmidCalls(
  simUrl: string,
  { atLeast, withinMs, last }: { atLeast: number; withinMs: number; last?: number },
  kill: () => Promise<Kill>,
): Promise<Cut> {
  for (;;) {
    const open = await whileCallsAreOpen(simUrl, atLeast, last);
    const { at, backAt } = await kill();
    const reruns = await rerunsOf(simUrl, { open, withinMs, ...(last && { last }) });
    // It may have come a moment too late to cut anything off; then it was no such kill.
    if (reruns.length > 0) return { at, backAt, open: open.length, reruns };
  }
}

/**
 * Of the calls of `open`, those that were cut off (their sockets ended first): each one's job's next call, once it has begun.
 * Empty if all of them came to their end.
 */
export function rerunsOf(
  simUrl: string,
  { open, withinMs, last }: { open: readonly SimCall[]; withinMs: number; last?: number },
): Promise<SimCall[]> {
  return eventually(
    async () => {
      const calls = await simCalls(simUrl, last);
      const watched = sameCalls(calls, open);
      if (watched.some(({ endedNs }) => endedNs === null)) return null;
      const again = watched
        .filter(({ outcome }) => outcome === 'gone')
        .map((call) => calls.find(({ jobId, attempt }) => jobId === call.jobId && attempt > call.attempt));
      return again.every((call) => call !== undefined) && again;
    },
    { what: 'every call that was cut off is made again', withinMs, everyMs: 100 },
  );
}

/** Waits until none of these calls is open any more. */
export async function callsEnd(
  simUrl: string,
  { calls, last }: { calls: readonly SimCall[]; last: number },
): Promise<void> {
  const open = async () => sameCalls(await openCalls(simUrl, last), calls);
  await eventually(async () => (await open()).length === 0, { what: 'calls end', withinMs: 60_000 });
}

/** Those of `calls` that are also among `wanted`, as they are now. */
function sameCalls(calls: readonly SimCall[], wanted: readonly SimCall[]): SimCall[] {
  const names = new Set(wanted.map(nameOf));
  return calls.filter((call) => names.has(nameOf(call)));
}

const nameOf = ({ jobId, attempt }: SimCall): string => `${jobId}-${attempt}`;
