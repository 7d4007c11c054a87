// One attempt: a claimed job's call of its provider, and what came of it. Never throws for a provider's fault.
import type { Context } from '../context.ts';
import { crashPoint } from '../crash.ts';
import type { Bounds, UsageLine } from '../domain/job.ts';
import type { Outcome } from '../domain/outcome.ts';
import type { Call, CallResult, Evidence, Provider, Route } from '../providers/provider.ts';
import { noteRemoteId } from '../store/attempts.ts';
import type { Claimed } from '../store/claims.ts';
import { applyBrake, type Brake, type StopReason } from './brake.ts';
import { countRefused, countStored, partialChat, usageOf } from './count.ts';
import { keepOutput } from './keep-output.ts';
import { findRoute, openArtifact, openRoute } from './open-call.ts';
import { type AppendStep, recordDeltas } from './record-deltas.ts';
import type { Settlement } from './settle.ts';

export interface RunTools {
  provider(name: string): Provider;
  appendDeltas: AppendStep;
}

type Ended = Pick<Settlement, 'outcome' | 'evidence' | 'artifacts'>;

export async function run(
  ctx: Context,
  tools: RunTools,
  { claimed, brake }: { claimed: Claimed; brake: Brake },
): Promise<Settlement> {
  const { accountId, jobId, epoch } = claimed;
  const ended = await attempt(ctx, tools, { claimed, brake }).catch((error: unknown): Ended => {
    ctx.log.error({ err: error, job: jobId }, 'an attempt broke on our side');
    return broken();
  });
  return { accountId, jobId, epoch, ...ended };
}

/** The settlement of an attempt whose own could not be written down: a job must not run for ever. */
export function unwritten({ accountId, jobId, epoch }: Settlement): Settlement {
  return { accountId, jobId, epoch, ...broken() };
}

function broken(): Ended {
  return failed({ code: 'internal', message: 'Something went wrong on our side.', retryable: true });
}

async function attempt(
  ctx: Context,
  tools: RunTools,
  { claimed, brake }: { claimed: Claimed; brake: Brake },
): Promise<Ended> {
  if (claimed.cancelRequested) return stopped('cancel');
  const row = await findRoute(ctx, claimed.routeId);
  if (!row?.enabled)
    return failed({
      code: 'provider_unavailable',
      message: 'The model has no route at present.',
      retryable: true,
    });
  const provider = tools.provider(row.provider);
  const route = openRoute(ctx, row);
  const input = claimed.inputJson ?? (await ctx.storage.read(claimed.inputKey ?? '')).toString('utf8');
  const recorder = recordDeltas(tools.appendDeltas, {
    accountId: claimed.accountId,
    jobId: claimed.jobId,
    attempt: claimed.epoch,
  });
  const inner = new AbortController();
  const call: Call = {
    accountId: claimed.accountId,
    jobId: claimed.jobId,
    attempt: claimed.epoch,
    kind: claimed.kind,
    input,
    bounds: JSON.parse(claimed.boundsJson) as Bounds,
    artifact:
      claimed.kind === 'stt' || claimed.kind === 'image'
        ? await openArtifact(ctx, claimed.accountId, input)
        : null,
    signal: inner.signal,
    onDelta: (delta) => recorder.add(delta),
    onRemoteId: (remoteId) => keepRemoteId(ctx, claimed, remoteId),
  };
  const braked = applyBrake({ brake, inner, provider, route, call, remainingMs: claimed.remainingMs });
  try {
    const known = await askAfter(ctx, tools, { call, earlier: claimed.earlier });
    const result = known ?? (await callOnce(provider, route, call));
    await recorder.flushed();
    const reason = result.type === 'succeeded' ? null : await braked.reason();
    return await conclude(ctx, { claimed, call, result, reason });
  } finally {
    braked.release();
  }
}

/** What was learned of earlier attempts whose end nobody saw; null: nothing, so the call is to be made. */
async function askAfter(ctx: Context, tools: RunTools, { call, earlier }: Asked): Promise<CallResult | null> {
  // All of them, since one that was cut off while it asked leaves no trace of its own at the vendor; and each at the
  // vendor it went to, which another route's does not know of.
  for (const { routeId, ...attempt } of earlier) {
    const row = await findRoute(ctx, routeId);
    const found = row && (await tools.provider(row.provider).lookup?.(openRoute(ctx, row), call, attempt));
    // Stopped while asking: of this attempt's own call nothing was sent.
    if (found?.type === 'stopped') return { ...found, evidence: { ...found.evidence, sent: false } };
    if (found) return found;
  }
  return null;
}

interface Asked {
  call: Call;
  earlier: Claimed['earlier'];
}

/** A call whose answer was lost is looked up at once, where the vendor can. */
async function callOnce(provider: Provider, route: Route, call: Call): Promise<CallResult> {
  const result = await provider.call(route, call);
  if (result.type !== 'ambiguous') return result;
  return (await provider.lookup?.(route, call, { attempt: call.attempt, remoteId: null })) ?? result;
}

async function keepRemoteId(
  ctx: Context,
  { accountId, jobId, epoch }: Claimed,
  remoteId: string,
): Promise<void> {
  crashPoint('remote-known');
  await noteRemoteId(ctx.flow, { accountId, jobId, attempt: epoch, remoteId });
}

interface Result {
  claimed: Claimed;
  call: Call;
  result: CallResult;
  reason: StopReason | null;
}

async function conclude(ctx: Context, { claimed, call, result, reason }: Result): Promise<Ended> {
  const { evidence } = result;
  const counted = { ...call, model: claimed.model };
  switch (result.type) {
    case 'succeeded':
      try {
        const { outputJson, artifacts } = await keepOutput(ctx, claimed, result.output);
        const usage = usageOf(ctx, counted, result);
        return { outcome: { type: 'succeeded', output: outputJson, usage }, evidence, artifacts };
      } catch (error) {
        ctx.log.error({ err: error, job: claimed.jobId }, 'an output could not be stored');
        const billed = result.usage;
        return failed(
          {
            code: 'storage_unavailable',
            message: 'The output could not be stored.',
            retryable: true,
            billed,
          },
          evidence,
        );
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
  { claimed, call, result }: { claimed: Claimed; call: Call; result: CallResult & { type: 'stopped' } },
): Promise<{ output: string; usage: UsageLine[] } | null> {
  if (call.kind !== 'chat' || !result.evidence.sent) return null;
  const counted = { ...call, model: claimed.model };
  const usage = result.usage ?? (await countStored(ctx, counted, call)).usage;
  return { output: partialChat(result.text), usage };
}

function stopped(
  reason: 'cancel' | 'deadline',
  rest: { evidence?: Evidence; output?: string; usage?: UsageLine[] } = {},
): Ended {
  const { evidence = null, output = null, usage = [] } = rest;
  return { outcome: { type: 'stopped', reason, output, usage }, evidence, artifacts: [] };
}

type Failure = Pick<Outcome & { type: 'failed' }, 'code' | 'message' | 'retryable'> &
  Partial<Outcome & { type: 'failed' }>;

function failed(failure: Failure, evidence: Evidence | null = null): Ended {
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
