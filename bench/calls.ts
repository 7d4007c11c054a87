// The simulator's log over a run longer than what it lists at once.
import { setTimeout as sleep } from 'node:timers/promises';
import { type SimCall, simCalls } from '../test/support/sim-log.ts';

export interface CallRecord {
  /** Every call since the record was begun. @throws if one may have been missed */
  end(): Promise<SimCall[]>;
}

const EVERY_MS = 5_000;
/** Some minutes of calls: what was open at one look is seen again when it has ended. */
const LAST = 3_000;

/** To be begun before the first call. */
export function recordCalls(simUrl: string): CallRecord {
  const calls = new Map<string, SimCall>();
  const stop = new AbortController();
  let gap = false;
  const look = async (last: number): Promise<void> => {
    const seen = await simCalls(simUrl, last);
    const oldest = seen[0];
    gap ||= seen.length === last && calls.size > 0 && oldest !== undefined && !calls.has(nameOf(oldest));
    for (const call of seen) calls.set(nameOf(call), call);
  };
  const looking = (async () => {
    while (!stop.signal.aborted) {
      // A simulator that is busy is asked again; a gap shows.
      await look(LAST).catch(() => {});
      await sleep(EVERY_MS, null, { signal: stop.signal }).catch(() => {});
    }
  })();
  return {
    async end() {
      stop.abort();
      await looking;
      await look(10_000);
      if (gap) throw new Error('calls came faster than they were recorded');
      return [...calls.values()];
    },
  };
}

const nameOf = ({ jobId, attempt, startedNs }: SimCall): string => `${jobId}-${attempt}-${startedNs}`;

/**
 * For every call whose socket ended first, whatever ended it: how long until its job was called again, by the simulator's
 * own clock, in seconds. Null: never.
 */
export function secondsUntilCalledAgain(calls: readonly SimCall[]): (number | null)[] {
  return [...Map.groupBy(calls, ({ jobId }) => jobId).values()].flatMap((ofJob) => {
    const inTurn = ofJob.toSorted((a, b) => Number(a.startedNs - b.startedNs));
    return inTurn.flatMap((call, i) => {
      if (call.outcome !== 'gone' || call.endedNs === null) return [];
      const next = inTurn[i + 1];
      return [next ? Number(next.startedNs - call.endedNs) / 1e9 : null];
    });
  });
}
