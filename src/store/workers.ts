import type { Db } from '../db/pool.ts';

export async function registerWorker(
  db: Db,
  worker: {
    id: string;
    queues: readonly string[];
    /** Upstream models that its engines on the command line can serve. */
    engines?: readonly string[];
    host: string;
    pid: number;
    leaseMs: number;
  },
): Promise<void> {
  const { id, queues, engines = [], host, pid, leaseMs } = worker;
  await db.query(
    `insert into workers (id, queues, engines, host, pid, lease_until)
      values ($1, $2, $3, $4, $5, millrace_now() + make_interval(secs => $6::float8 / 1000))`,
    [id, queues, engines, host, pid, leaseMs],
  );
}

/** False: the lease has lapsed, its jobs may be somebody else's, and this identity is over. */
export async function renewLease(
  db: Db,
  worker: { id: string; leaseMs: number; engines: readonly string[] },
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'renew-lease',
    text: `update workers set lease_until = millrace_now() + make_interval(secs => $2::float8 / 1000), engines = $3
      where id = $1 and lease_until > millrace_now()`,
    values: [worker.id, worker.leaseMs, worker.engines],
  });
  return rowCount === 1;
}

/** Ends a lease at once, so that what the worker may have left behind is taken back by the next sweep. */
export async function endLease(db: Db, workerId: string): Promise<void> {
  await db.query('delete from workers where id = $1', [workerId]);
}

/** Removes workers whose lease lapsed; their jobs are found by having no worker. */
export async function buryWorkers(db: Db): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    'delete from workers where lease_until <= millrace_now() returning id',
  );
  return rows.map((row) => row.id);
}

/** The queues that some live worker listens to. */
export async function servedQueues(db: Db): Promise<Set<string>> {
  const { rows } = await db.query<{ queue: string }>(
    'select distinct unnest(queues) as queue from workers where lease_until > millrace_now()',
  );
  return new Set(rows.map((row) => row.queue));
}

/** The upstream models that the engines of some live worker can serve. */
export async function servedEngines(db: Db): Promise<Set<string>> {
  const { rows } = await db.query<{ engine: string }>(
    'select distinct unnest(engines) as engine from workers where lease_until > millrace_now()',
  );
  return new Set(rows.map((row) => row.engine));
}
