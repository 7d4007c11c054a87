// The verbs by hand: one list, one claim, one settlement at a time, with no worker that would be quicker.
import { createHash } from 'node:crypto';
import { assertInput } from '../../src/api/validate.ts';
import type { Submission } from '../../src/domain/submission.ts';
import { newId } from '../../src/domain/ids.ts';
import { termsFor } from '../../src/domain/plan.ts';
import { type Admit, openAdmission, type Request } from '../../src/flow/admit.ts';
import { openAnnouncer } from '../../src/flow/announce.ts';
import { openSettlement, type Settle, type Settlement } from '../../src/flow/settle.ts';
import { prepare } from '../../src/flow/submit.ts';
import { openSweep } from '../../src/flow/sweep.ts';
import { claimJobs, type Claimed } from '../../src/store/claims.ts';
import { endLease, registerWorker } from '../../src/store/workers.ts';
import type { TestAccount, TestPlatform } from './platform.ts';

/** Outlives every shift of the clock in a test: whoever is to lose it dies. */
const LEASE_MS = 7 * 86_400_000;

/** For a sweep that will have no vendor to ask. */
export const noVendor = (name: string): never => {
  throw new Error(`${name} is not to be asked`);
};

export interface Hands {
  admit: Admit;
  settle: Settle;
  /** One pass of the sweep. */
  sweep(): Promise<void>;
  /** A request as a client's body becomes one; `key` with a hash of the body. */
  request(account: TestAccount, body: Record<string, unknown>, key?: string): Promise<Request>;
  /** Claims every job of the account that has a slot and waits, for a worker of that name. */
  claim(account: TestAccount, workerId: string): Promise<Claimed[]>;
  worker(): Promise<{ id: string; die(): Promise<void> }>;
}

export function openHands(millrace: TestPlatform): Hands {
  const { ctx } = millrace.platform;
  const announcer = openAnnouncer(ctx);
  const settle = openSettlement(ctx, announcer);
  const sweeper = openSweep(ctx, { announcer, settle, provider: noVendor });
  return {
    admit: openAdmission(ctx, announcer),
    settle,
    async sweep() {
      await sweeper.pass();
      await sweeper.leave();
    },
    async request(account, body, key) {
      const [row] = await millrace.sql<{ id: string; livemode: boolean; plan_id: string; overrides: object }>(
        `select k.id, a.livemode, a.plan_id, a.overrides from accounts a join api_keys k on k.account_id = a.id where a.id = $1`,
        [account.id],
      );
      const plan = ctx.catalogue().plans.get(row?.plan_id ?? '');
      if (!row || !plan) throw new Error('there is no such account');
      const text = JSON.stringify(body);
      const { request } = await prepare(
        ctx,
        {
          accountId: account.id,
          keyId: row.id,
          livemode: row.livemode,
          terms: termsFor(plan, row.overrides),
        },
        {
          body: body as Submission,
          inputJson: JSON.stringify(body['input']),
          metadataJson: JSON.stringify(body['metadata'] ?? {}),
          idempotency: key === undefined ? null : { key, hash: createHash('sha256').update(text).digest() },
          clientRequestId: null,
          assertInput,
        },
      );
      return request;
    },
    async claim(account, workerId) {
      const rung = await millrace.sql<{ accountId: string; jobId: string; epoch: number }>(
        `select account_id as "accountId", id as "jobId", epoch from jobs where account_id = $1 and slot is not null and status = 'queued' order by slot`,
        [account.id],
      );
      const claimed = await claimJobs(ctx.flow, workerId, rung);
      return claimed.toSorted((a, b) => a.slot - b.slot);
    },
    async worker() {
      const id = newId('wkr');
      await registerWorker(ctx.flow, { id, queues: [], host: 'test', pid: process.pid, leaseMs: LEASE_MS });
      return { id, die: () => endLease(ctx.flow, id) };
    },
  };
}

/** The settlement of a claimed chat that went well. */
export function answered({ accountId, jobId, epoch }: Claimed, text = 'flour'): Settlement {
  return {
    accountId,
    jobId,
    epoch,
    outcome: {
      type: 'succeeded',
      output: JSON.stringify({ text, completion: null }),
      usage: [
        { name: 'token', measure: 'input', quantity: 5 },
        { name: 'token', measure: 'output', quantity: 2 },
      ],
    },
    evidence: null,
    artifacts: [],
  };
}
