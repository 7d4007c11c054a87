// What a provider's answer makes of the attempt: an outcome for the settlement, and artifacts that are stored by then.
import type { Context } from '../context.ts';
import type { UsageLine } from '../domain/job.ts';
import type { Outcome } from '../domain/outcome.ts';
import type { Call, CallResult, Evidence } from '../providers/provider.ts';
import type { Claimed } from '../store/claims.ts';
import type { StopReason } from './brake.ts';
import { countRefused, countStored, partialChat, usageOf } from './count.ts';
import { keepOutput } from './keep-output.ts';
import type { Settlement } from './settle.ts';

/** What becomes of an attempt, as its settlement says. */
export type Ended = Pick<Settlement, 'outcome' | 'evidence' | 'artifacts'>;

interface Result {
  claimed: Pick<Claimed, 'accountId' | 'jobId' | 'model'>;
  call: Call;
  result: CallResult;
  reason: StopReason | null;
  /** Of the attempt's brake. */
  leaving: AbortSignal;
}

export async function conclude(
  ctx: Context,
  { claimed, call, result, reason, leaving }: Result,
): Promise<Ended> {
  const { evidence } = result;
  const counted = { ...call, model: claimed.model };
  switch (result.type) {
    case 'succeeded':
      try {
        const owner = { accountId: claimed.accountId, jobId: claimed.jobId, leaving };
        const { outputJson, artifacts } = await keepOutput(ctx, owner, result.output);
        const usage = usageOf(ctx, counted, result);
        return { outcome: { type: 'succeeded', output: outputJson, usage }, evidence, artifacts };
      } catch (error) {
        ctx.log.error({ err: error, job: claimed.jobId }, 'an output could not be stored');
        // That we go is no failure of the job's.
        if (leaving.aborted) return { outcome: { type: 'interrupted', used: null }, evidence, artifacts: [] };
        const message = 'The output could not be stored.';
        return failed({ ...STORAGE_AWAY, message, billed: result.usage }, evidence);
      }
    case 'failed':
    case 'ambiguous':
      // A provider that confirmed our stop ends the call as it likes: that is no failure.
      if (call.kind !== 'chat' && (reason === 'cancel' || reason === 'deadline'))
        return stopped(reason, { evidence });
      if (result.type === 'failed' && result.code === 'content_refused') {
        const billed =
          result.billed ??
          (await countRefused(ctx, counted, call).catch((error: unknown) => {
            // Not a failure of the attempt, which would ask the vendor again what it refuses.
            ctx.log.error({ err: error, job: claimed.jobId }, 'a refusal could not be counted; it is free');
            return null;
          }));
        return failed({ ...result, billed }, evidence);
      }
      if (result.type === 'failed') return failed(result, evidence);
      return failed(
        { code: 'provider_unavailable', message: result.message, retryable: true, ambiguous: true },
        evidence,
      );
    case 'stopped': {
      if (reason === 'time_limit' || reason === null) {
        return failed(
          {
            code: 'provider_timeout',
            message: "The attempt took longer than its kind's limit.",
            retryable: true,
          },
          evidence,
        );
      }
      const used = await usedSoFar(ctx, { claimed, call, result });
      if (reason === 'leave') return { outcome: { type: 'interrupted', used }, evidence, artifacts: [] };
      return stopped(reason, { evidence, ...used });
    }
  }
}

/** Of a chat whose call had begun: what it said, and what that used by the vendor's word or our own count. */
async function usedSoFar(
  ctx: Context,
  { claimed, call, result }: Pick<Result, 'claimed' | 'call'> & { result: CallResult & { type: 'stopped' } },
): Promise<{ output: string; usage: UsageLine[] } | null> {
  if (call.kind !== 'chat' || !result.evidence.sent) return null;
  const counted = { ...call, model: claimed.model };
  const usage = result.usage ?? (await countStored(ctx, counted, call)).usage;
  return { output: partialChat(result.text), usage };
}

export function stopped(
  reason: 'cancel' | 'deadline',
  rest: { evidence?: Evidence; output?: string; usage?: UsageLine[] } = {},
): Ended {
  const { evidence = null, output = null, usage = [] } = rest;
  return { outcome: { type: 'stopped', reason, output, usage }, evidence, artifacts: [] };
}

export const STORAGE_AWAY = { code: 'storage_unavailable', retryable: true } as const;

type Failure = Pick<Outcome & { type: 'failed' }, 'code' | 'message' | 'retryable'> &
  Partial<Outcome & { type: 'failed' }>;

export function failed(failure: Failure, evidence: Evidence | null = null): Ended {
  const { code, message, retryable, retryAfterMs = null, ambiguous = false, billed = null } = failure;
  const { oursToMend = false } = failure;
  const unsent = code === 'provider_unavailable' && evidence?.sent === false;
  return {
    outcome: {
      type: 'failed',
      code,
      message,
      retryable,
      retryAfterMs,
      ambiguous,
      unsent,
      oursToMend,
      billed,
    },
    evidence,
    artifacts: [],
  };
}
