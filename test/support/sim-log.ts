// The simulator's own record of who called when, from outside: the oracle of every test that kills.
import { request } from 'undici';

export interface SimCall {
  accountId: string;
  jobId: string;
  attempt: number;
  /** Nanoseconds of the simulator's monotonic clock. */
  startedNs: bigint;
  /** Null while it is open. */
  endedNs: bigint | null;
  /** Wall clock, in ms, of the same machine as ours. */
  startedAt: number;
  outcome: string | null;
  billed: boolean;
}

interface Row {
  account_id: string;
  job_id: string;
  attempt: number;
  started_at: string;
  started_ns: string;
  ended_ns: string | null;
  outcome: string | null;
  billed: boolean;
}

/** The last calls (10,000 at most), oldest first. Fewer are cheaper, for who asks often. */
export async function simCalls(simUrl: string, last = 10_000): Promise<SimCall[]> {
  const { body } = await request(`${simUrl}/calls?limit=${last}`);
  return ((await body.json()) as Row[]).map((row) => ({
    accountId: row.account_id,
    jobId: row.job_id,
    attempt: row.attempt,
    startedNs: BigInt(row.started_ns),
    endedNs: row.ended_ns === null ? null : BigInt(row.ended_ns),
    startedAt: Date.parse(row.started_at),
    outcome: row.outcome,
    billed: row.billed,
  }));
}

export async function openCalls(simUrl: string, last?: number): Promise<SimCall[]> {
  return (await simCalls(simUrl, last)).filter((call) => call.endedNs === null);
}
