// A queue that forgets everything while the platform works.
import { eventually } from './eventually.ts';
import type { Ground } from './ground.ts';
import type { Load } from './load.ts';

export interface Wiped {
  /** Jobs with a slot at that moment: called, or waiting for a worker that takes their message. */
  inFlight: number;
  /** Of those, the ones that waited. Only their messages are missed. */
  waiting: number;
  /** Jobs in line behind them. */
  line: number;
  /** From the wipe until every one of those that waited was taken, or ended. */
  ms: number;
}

/** @throws if a burst does not bring so many jobs together, or if what was forgotten is not run within 90 s */
export async function wipeUnderLoad(
  { installation: { sql }, wipeQueue }: Ground,
  load: Load,
  { burst, inFlight = 0 }: { burst: number; inFlight?: number },
): Promise<Wiped> {
  const look = () =>
    sql<{ id: string; state: 'running' | 'waiting' | 'line' }>(
      `select id, case when status = 'running' then 'running' when slot is not null then 'waiting' else 'line' end as state
        from jobs where ended_at is null and (status = 'running' or slot is not null or place is not null)`,
    );
  await load.burst(burst);
  const before = await eventually(
    async () => {
      const jobs = Map.groupBy(await look(), ({ state }) => state);
      const [running, waiting, line] = (['running', 'waiting', 'line'] as const).map(
        (state) => jobs.get(state)?.map(({ id }) => id) ?? [],
      ) as [string[], string[], string[]];
      const enough = waiting.length >= 5 && line.length >= 5 && running.length + waiting.length >= inFlight;
      return enough && { running, waiting, line };
    },
    { what: `jobs wait with a slot, others in line, and ${inFlight} are in flight`, withinMs: 20_000 },
  );
  // As if they had waited for minutes: by itself the sweep would not ring these again for as long.
  await sql(`update jobs set rings = 6 where slot is not null and status = 'queued'`);
  await wipeQueue();
  const at = Date.now();
  const lost = new Set(before.waiting);
  await eventually(async () => !(await look()).some(({ id, state }) => state !== 'running' && lost.has(id)), {
    what: 'what the queue forgot is run',
    withinMs: 90_000,
  });
  return {
    inFlight: before.running.length + before.waiting.length,
    waiting: before.waiting.length,
    line: before.line.length,
    ms: Date.now() - at,
  };
}
