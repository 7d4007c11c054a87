// Whether two calls were ever open at once where one should have been, by the simulator's log.
import type { Installation } from './installation.ts';
import type { SimCall } from './sim-log.ts';

export interface Overlap {
  accountId: string;
  slot: number;
  /** `<job>-<attempt>`, the one that began first. */
  elder: string;
  younger: string;
}

/** Pairs of calls of one account's slot that were open at once. The slot of a call is that of its attempt, in SQL. */
export async function slotOverlaps({ sql }: Installation, calls: readonly SimCall[]): Promise<Overlap[]> {
  const rows = await sql<{ job: string; attempt: number; slot: number }>(
    'select job_id as job, attempt, slot from attempts',
  );
  const slots = new Map(rows.map(({ job, attempt, slot }) => [`${job}-${attempt}`, slot]));
  const bySlot = Map.groupBy(calls, (call) => `${call.accountId} ${slots.get(nameOf(call))}`);
  return [...bySlot.entries()].flatMap(([key, group]) => {
    const [accountId = '', slot] = key.split(' ');
    return pairs(group).map(([elder, younger]) => ({ accountId, slot: Number(slot), elder, younger }));
  });
}

function pairs(group: readonly SimCall[]): [string, string][] {
  const sorted = group.toSorted((a, b) => (a.startedNs < b.startedNs ? -1 : 1));
  return sorted.flatMap((elder, i) =>
    sorted
      .slice(i + 1)
      .filter((younger) => elder.endedNs === null || younger.startedNs < elder.endedNs)
      .map((younger): [string, string] => [nameOf(elder), nameOf(younger)]),
  );
}

/** The most calls that each account ever had open at once. */
export function peaks(calls: readonly SimCall[]): Map<string, number> {
  const byAccount = Map.groupBy(calls, ({ accountId }) => accountId);
  return new Map([...byAccount].map(([accountId, group]) => [accountId, peak(group)]));
}

function peak(calls: readonly SimCall[]): number {
  const steps = calls.flatMap(({ startedNs, endedNs }) => [
    { at: startedNs, by: 1 },
    ...(endedNs === null ? [] : [{ at: endedNs, by: -1 }]),
  ]);
  // At one instant, ends before starts.
  steps.sort((a, b) => (a.at === b.at ? a.by - b.by : a.at < b.at ? -1 : 1));
  let open = 0;
  return steps.reduce((most, { by }) => Math.max(most, (open += by)), 0);
}

const nameOf = ({ jobId, attempt }: SimCall): string => `${jobId}-${attempt}`;
