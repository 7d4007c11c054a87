import type { Db, Tx } from '../db/pool.ts';
import { rowset } from '../db/rowset.ts';

/** How an attempt ended, for the record; money is decided elsewhere. Fields ending in `Json` are JSON texts. */
export interface EndedAttempt {
  accountId: string;
  jobId: string;
  attempt: number;
  /** Of its row already; for who counts. */
  routeId: string;
  outcome: 'succeeded' | 'failed' | 'stopped' | 'ambiguous' | 'interrupted';
  errorCode: string | null;
  /** For who tells the operator; not kept. */
  oursToMend: boolean;
  evidenceJson: string | null;
  usageJson: string | null;
  providerCost: bigint | null;
  waste: bigint | null;
  overrun: bigint | null;
}

const ended = rowset<EndedAttempt>(
  {
    account_id: ['text', (a) => a.accountId],
    job_id: ['text', (a) => a.jobId],
    attempt: ['integer', (a) => a.attempt],
    outcome: ['text', (a) => a.outcome],
    error_code: ['text', (a) => a.errorCode],
    evidence: ['text', (a) => a.evidenceJson],
    usage: ['text', (a) => a.usageJson],
    provider_cost: ['bigint', (a) => a.providerCost],
    waste: ['bigint', (a) => a.waste],
    overrun: ['bigint', (a) => a.overrun],
  },
  2,
);

export function endAttempts(tx: Tx, attempts: readonly EndedAttempt[], at: Date): void {
  if (attempts.length === 0) return;
  tx.send({
    name: 'end-attempts',
    text: `update attempts a set ended_at = $1, outcome = r.outcome, error_code = r.error_code, evidence = r.evidence,
        usage = r.usage, provider_cost = r.provider_cost, waste = r.waste, overrun = r.overrun
      from ${ended.sql}
      where a.account_id = r.account_id and a.job_id = r.job_id and a.attempt = r.attempt and a.outcome is null`,
    values: [at, ...ended.values(attempts)],
  });
}

/**
 * Notes what the vendor calls the work, also of a job that was taken from its worker meanwhile: whoever runs it next asks by it.
 * False: the job is no longer this attempt's.
 */
export async function noteRemoteId(
  db: Db,
  call: { accountId: string; jobId: string; attempt: number; remoteId: string },
): Promise<boolean> {
  const { rows } = await db.query<{ ours: boolean }>(
    `update attempts a set remote_id = $4 from jobs j
      where a.account_id = $1 and a.job_id = $2 and a.attempt = $3 and j.account_id = a.account_id and j.id = a.job_id
      returning j.epoch = a.attempt and j.status = 'running' as ours`,
    [call.accountId, call.jobId, call.attempt, call.remoteId],
  );
  return rows[0]?.ours ?? false;
}

/** One call of a provider, as `explain` shows it. */
export interface Attempt {
  attempt: number;
  routeId: string;
  workerId: string;
  slot: number;
  startedAt: Date;
  endedAt: Date | null;
  outcome: string | null;
  errorCode: string | null;
  remoteId: string | null;
  evidenceJson: string | null;
  usageJson: string | null;
}

export async function attemptsOf(db: Db, job: { accountId: string; jobId: string }): Promise<Attempt[]> {
  const { rows } = await db.query<Attempt>(
    `select attempt, route_id as "routeId", worker_id as "workerId", slot, started_at as "startedAt", ended_at as "endedAt",
        outcome, error_code as "errorCode", remote_id as "remoteId", evidence as "evidenceJson", usage as "usageJson"
      from attempts where account_id = $1 and job_id = $2 order by attempt`,
    [job.accountId, job.jobId],
  );
  return rows;
}
