// Whether a slot was ever used twice at once: the simulator's log says when each call was open, by its socket, and the
// attempts say with which slot it was made.
import type { Installation } from './installation.ts';
import { simCalls } from './sim-log.ts';

export interface SlotUse {
  /** Calls whose attempt is known, and so how much the check has seen. */
  calls: number;
  /** The most calls of one account that were ever open at once. */
  most: Map<string, number>;
  /** Pairs of calls that were open at once with one slot of one account. */
  doubles: string[];
}

interface Attempt {
  jobId: string;
  attempt: number;
  slot: number;
}

export async function slotUse({ sql }: Installation, simUrl: string): Promise<SlotUse> {
  const attempts = await sql<Attempt>('select job_id as "jobId", attempt, slot from attempts');
  const slots = new Map(attempts.map(({ jobId, attempt, slot }) => [`${jobId}-${attempt}`, slot]));
  const calls = (await simCalls(simUrl)).flatMap((call) => {
    const slot = slots.get(`${call.jobId}-${call.attempt}`);
    return slot === undefined ? [] : [{ ...call, slot, ends: call.endedNs ?? 2n ** 63n }];
  });
  const doubles: string[] = [];
  for (const [slot, group] of Map.groupBy(calls, (call) => `${call.accountId} slot ${call.slot}`)) {
    const inOrder = group.toSorted((a, b) => (a.startedNs < b.startedNs ? -1 : 1));
    let last: (typeof calls)[number] | null = null;
    for (const call of inOrder) {
      if (last && call.startedNs < last.ends) {
        const ms = Number(last.ends - call.startedNs) / 1e6;
        doubles.push(
          `${slot}: ${last.jobId}-${last.attempt} (${last.outcome}) and ${call.jobId}-${call.attempt}, ${ms} ms`,
        );
      }
      if (!last || call.ends > last.ends) last = call;
    }
  }
  const most = new Map(
    [...Map.groupBy(calls, (call) => call.accountId)].map(([account, own]) => [account, mostAtOnce(own)]),
  );
  return { calls: calls.length, most, doubles };
}

function mostAtOnce(calls: readonly { startedNs: bigint; ends: bigint }[]): number {
  const steps = calls
    .flatMap(({ startedNs, ends }) => [
      { at: startedNs, step: 1 },
      { at: ends, step: -1 },
    ])
    .toSorted((a, b) => (a.at === b.at ? a.step - b.step : a.at < b.at ? -1 : 1));
  let open = 0;
  let most = 0;
  for (const { step } of steps) {
    open += step;
    most = Math.max(most, open);
  }
  return most;
}
