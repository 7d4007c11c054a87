// What must be true of a set of jobs once everything has calmed down, whatever was done to the platform meanwhile.
import type { Installation } from './installation.ts';
import type { SimCall } from './sim-log.ts';
import { eventually } from './eventually.ts';

export interface Verdict {
  /** Accepted jobs; and of them those that do not exist, or had not ended. */
  jobs: number;
  lost: string[];
  /** Captured more than once, or something else than their cost. */
  misCharged: string[];
  /** Ended otherwise than `succeeded`: `job_…: failed (internal)`. */
  unsuccessful: string[];
  /** Keys with more than one job in the database. */
  twins: string[];
  /** Attempts of the same number that called twice. */
  doubleCalls: string[];
  /** Jobs that the provider billed more than once. */
  doubleBilled: string[];
  /** Calls beyond the one that each job needs. */
  wastedCalls: number;
}

interface Row {
  id: string;
  status: string;
  ended: boolean;
  cost: string | null;
  code: string | null;
  captures: number;
  captured: string;
}

const JOBS = `select j.id, j.status, j.ended_at is not null as ended, j.cost, j.error::jsonb ->> 'code' as code,
    coalesce(c.captures, 0)::int as captures, coalesce(c.captured, 0) as captured
  from jobs j left join (select job_id, count(*) as captures, sum(amount) as captured from ledger_transactions
    where type = 'capture' group by job_id) c on c.job_id = j.id where j.id = any($1)`;

/** Waits until every job of the database has ended. */
export async function calm({ sql }: Installation, { withinMs }: { withinMs: number }): Promise<void> {
  const open = async (): Promise<number> =>
    (await sql<{ n: number }>('select count(*)::int as n from jobs where ended_at is null'))[0]?.n ?? 0;
  await eventually(async () => (await open()) === 0, {
    what: 'every job has ended',
    withinMs,
    everyMs: 100,
  }).catch(async (error: Error) => {
    const left = await sql(
      'select id, kind, status, slot, place, epoch, worker_id, rung_at, rings, due_at from jobs where ended_at is null limit 5',
    );
    const workers = await sql('select id, pid, lease_until, clock_timestamp() as now from workers');
    throw new Error(`${error.message}; ${await open()} are open: ${JSON.stringify({ left, workers })}`, {
      cause: error,
    });
  });
}

/** `accepted`: the job of each key, as clients were told. */
export async function judge(
  { sql }: Installation,
  accepted: ReadonlyMap<string, string>,
  calls: readonly SimCall[],
): Promise<Verdict> {
  const rows = new Map((await sql<Row>(JOBS, [[...accepted.values()]])).map((row) => [row.id, row]));
  const twins = await sql<{ key: string }>(
    'select idempotency_key as key from jobs where idempotency_key = any($1) group by account_id, idempotency_key having count(*) > 1',
    [[...accepted.keys()]],
  );
  const ours = calls.filter(({ jobId }) => rows.has(jobId));
  const attempts = Map.groupBy(ours, ({ jobId, attempt }) => `${jobId}-${attempt}`);
  const billed = Map.groupBy(
    ours.filter((call) => call.billed),
    ({ jobId }) => jobId,
  );
  const all = [...rows.values()];
  return {
    jobs: accepted.size,
    lost: [...accepted.values()].filter((id) => rows.get(id)?.ended !== true),
    misCharged: all.filter((row) => wronglyCharged(row)).map(({ id }) => id),
    unsuccessful: all
      .filter(({ status }) => status !== 'succeeded')
      .map(({ id, status, code }) => `${id}: ${status} (${code})`),
    twins: twins.map(({ key }) => key),
    doubleCalls: [...attempts].filter(([, group]) => group.length > 1).map(([key]) => key),
    doubleBilled: [...billed].filter(([, group]) => group.length > 1).map(([jobId]) => jobId),
    wastedCalls: ours.length - new Set(ours.map(({ jobId }) => jobId)).size,
  };
}

function wronglyCharged({ status, cost, captures, captured }: Row): boolean {
  if (status === 'succeeded') return captures !== 1 || captured !== cost || Number(cost) <= 0;
  return captures > 1 || captured !== (cost ?? '0');
}
