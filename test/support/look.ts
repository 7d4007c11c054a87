// What a test looks at when the API alone does not tell: the simulator's log, the ledger's lines, a job's attempts.
import { setTimeout as sleep } from 'node:timers/promises';
import { inject } from 'vitest';
import type { LoggedCall } from '../providers/support.ts';
import type { Json } from './client.ts';
import type { Installation, TestAccount } from './platform.ts';

/** The simulator's own record of a job's calls, first to last. */
export async function simCalls(jobId: string): Promise<LoggedCall[]> {
  const response = await fetch(`${inject('simUrl')}/calls?limit=10000`);
  const calls = (await response.json()) as LoggedCall[];
  return calls.filter((call) => call.job_id === jobId);
}

export interface AttemptRow {
  attempt: number;
  outcome: string | null;
  error_code: string | null;
  remote_id: string | null;
  provider_cost: string | null;
  waste: string | null;
  overrun: string | null;
}

export const attemptsOf = (installation: Installation, jobId: string): Promise<AttemptRow[]> =>
  installation.sql<AttemptRow>(
    `select attempt, outcome, error_code, remote_id, provider_cost, waste, overrun from attempts where job_id = $1 order by attempt`,
    [jobId],
  );

export interface LedgerLine {
  type: string;
  from_bucket: string;
  to_bucket: string;
  amount: number;
}

/** Every movement of credits for a job, in order. */
export const ledgerOf = (installation: Installation, jobId: string): Promise<LedgerLine[]> =>
  installation.sql<LedgerLine>(
    `select t.type, l.from_bucket, l.to_bucket, l.amount::int as amount from ledger_transactions t
      join ledger_lines l on l.account_id = t.account_id and l.sequence = t.sequence
      where t.job_id = $1 order by t.sequence, l.line`,
    [jobId],
  );

/** Polls a job until `is` holds of it: for states that announce themselves to nobody. */
export async function jobUntil(account: TestAccount, id: string, is: (job: Json) => boolean): Promise<Json> {
  for (;;) {
    const { body } = await account.get(`/v1/jobs/${id}`);
    if (is(body)) return body;
    if (body.ended_at !== null) throw new Error(`it ended before: ${JSON.stringify(body)}`);
    await sleep(10);
  }
}
