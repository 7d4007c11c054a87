// One attempt: a claimed job's call of its provider, and what came of it. Never throws for a provider's fault.
import { Readable } from 'node:stream';
import type { Context } from '../context.ts';
import { crashPoint } from '../crash.ts';
import { rawMember } from '../domain/json-members.ts';
import type { Bounds, Kind, UsageLine } from '../domain/job.ts';
import type { Outcome } from '../domain/outcome.ts';
import type { Call, CallResult, Evidence, Provider, Route } from '../providers/provider.ts';
import { type Artifact, findArtifact } from '../store/artifacts.ts';
import { noteRemoteId } from '../store/attempts.ts';
import type { FullRoute } from '../store/catalogue.ts';
import type { Claimed } from '../store/jobs.ts';
import { countTokens, countUsage, keepOutput } from './keep-output.ts';
import { type AppendStep, recordDeltas } from './record-deltas.ts';
import { openSeal } from './seal.ts';
import type { Settlement } from './settle.ts';

/** Why a call is ended from our side. `leave`: the worker itself is going, or no longer owns the job. */
export type StopReason = 'cancel' | 'deadline' | 'time_limit' | 'leave';

/** An attempt's brake: pulled by the worker (cancel, drain, lost lease) and by this file's own timers. */
export interface Brake {
  signal: AbortSignal;
  pull(reason: StopReason): void;
}

export interface RunTools {
  provider(name: string): Provider;
  appendDeltas: AppendStep;
}

const MINUTE = 60_000;
/** Contract 19: how long one attempt may take. */
export const ATTEMPT_LIMIT_MS: Record<Kind, number> = {
  chat: 10 * MINUTE,
  image: 5 * MINUTE,
  tts: 5 * MINUTE,
  stt: 30 * MINUTE,
};

type Ended = Pick<Settlement, 'outcome' | 'evidence' | 'artifacts'>;

export async function run(
  ctx: Context,
  tools: RunTools,
  { claimed, brake }: { claimed: Claimed; brake: Brake },
): Promise<Settlement> {
  const { accountId, jobId, epoch } = claimed;
  const ended = await attempt(ctx, tools, { claimed, brake }).catch((error: unknown): Ended => {
    ctx.log.error({ err: error, job: jobId }, 'an attempt broke on our side');
    return failed({ code: 'internal', message: 'Something went wrong on our side.', retryable: true });
  });
  return { accountId, jobId, epoch, ...ended };
}

async function attempt(
  ctx: Context,
  tools: RunTools,
  { claimed, brake }: { claimed: Claimed; brake: Brake },
): Promise<Ended> {
  if (claimed.cancelRequested) return stopped('cancel');
  const row = ctx.catalogue().routes.get(claimed.routeId);
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
    audio: claimed.kind === 'stt' ? await openAudio(ctx, claimed.accountId, input) : null,
    signal: inner.signal,
    onDelta: (delta) => recorder.add(delta),
    onRemoteId: (remoteId) => keepRemoteId(ctx, claimed, remoteId),
  };
  const release = applyBrake({ claimed, brake, inner, provider, route, call });
  try {
    const result = await callOnce(provider, route, { call, earlier: claimed.earlier });
    await recorder.flushed();
    return await conclude(ctx, {
      claimed,
      call,
      result,
      reason: inner.signal.aborted ? (inner.signal.reason as StopReason) : null,
    });
  } finally {
    release();
  }
}

/** An earlier attempt whose end nobody saw is asked after first: what the vendor did once need not be done again. */
async function callOnce(
  provider: Provider,
  route: Route,
  { call, earlier }: { call: Call; earlier: Claimed['earlier'] },
): Promise<CallResult> {
  const found = earlier && (await provider.lookup?.(route, call, earlier));
  if (found) return found;
  crashPoint('provider-sent');
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

interface Braking {
  claimed: Claimed;
  brake: Brake;
  inner: AbortController;
  provider: Provider;
  route: Route;
  call: Call;
}

/**
 * Carries the brake over to the call. Chat stops at once. Other kinds may be billed whole, so a client's stop is first
 * put to the provider, and only what it confirms ends the call; else the work is awaited and paid (contract 7).
 */
function applyBrake({ claimed, brake, inner, provider, route, call }: Braking): () => void {
  const onPull = (): void => {
    const reason = brake.signal.reason as StopReason;
    if (claimed.kind === 'chat' || reason === 'leave' || reason === 'time_limit') return inner.abort(reason);
    provider
      .stop?.(route, call)
      .then((confirmed) => {
        if (confirmed) inner.abort(reason);
      })
      .catch(() => {});
  };
  if (brake.signal.aborted) onPull();
  else brake.signal.addEventListener('abort', onPull, { once: true });
  const limit = setTimeout(
    () => inner.abort('time_limit' satisfies StopReason),
    ATTEMPT_LIMIT_MS[claimed.kind],
  );
  const deadline = setTimeout(() => brake.pull('deadline'), Math.min(claimed.remainingMs, 2 ** 31 - 1));
  return () => {
    clearTimeout(limit);
    clearTimeout(deadline);
    brake.signal.removeEventListener('abort', onPull);
  };
}

async function conclude(
  ctx: Context,
  {
    claimed,
    call,
    result,
    reason,
  }: { claimed: Claimed; call: Call; result: CallResult; reason: StopReason | null },
): Promise<Ended> {
  const { evidence } = result;
  const count = {
    promptBytes: promptBytes(call.input),
    bytesPerToken: ctx.catalogue().models.get(claimed.model)?.data.bytes_per_token ?? 4,
    characters: call.bounds.characters ?? 0,
  };
  switch (result.type) {
    case 'succeeded':
      try {
        const { outputJson, artifacts } = await keepOutput(ctx, claimed, result.output);
        const usage = believable(result.usage) ?? countUsage(result.output, count);
        return { outcome: { type: 'succeeded', output: outputJson, usage }, evidence, artifacts };
      } catch (error) {
        ctx.log.error({ err: error, job: claimed.jobId }, 'an output could not be stored');
        return failed(
          { code: 'storage_unavailable', message: 'The output could not be stored.', retryable: true },
          evidence,
        );
      }
    case 'failed':
      return failed(result, evidence);
    case 'ambiguous':
      return failed(
        { code: 'provider_unavailable', message: result.message, retryable: true, ambiguous: true },
        evidence,
      );
    case 'stopped':
      if (reason === 'leave') return { outcome: { type: 'interrupted' }, evidence, artifacts: [] };
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
      if (claimed.kind !== 'chat') return stopped(reason, { evidence });
      return stopped(reason, {
        evidence,
        output: `{"text":${JSON.stringify(result.text)},"completion":null}`,
        usage: believable(result.usage) ?? countTokens({ ...count, text: result.text }),
      });
  }
}

/** A vendor's count that is no count is as good as none. */
function believable(usage: UsageLine[] | null): UsageLine[] | null {
  return usage?.every(({ quantity }) => Number.isSafeInteger(quantity) && quantity >= 0) ? usage : null;
}

function stopped(
  reason: 'cancel' | 'deadline',
  rest: { evidence?: Evidence; output?: string; usage?: (Outcome & { type: 'stopped' })['usage'] } = {},
): Ended {
  const { evidence = null, output = null, usage = [] } = rest;
  return { outcome: { type: 'stopped', reason, output, usage }, evidence, artifacts: [] };
}

type Failure = Pick<Outcome & { type: 'failed' }, 'code' | 'message' | 'retryable'> &
  Partial<Outcome & { type: 'failed' }>;

function failed(failure: Failure, evidence: Evidence | null = null): Ended {
  const { code, message, retryable, retryAfterMs = null, ambiguous = false, billed = null } = failure;
  return {
    outcome: {
      type: 'failed',
      code,
      message,
      retryable,
      retryAfterMs,
      ambiguous,
      billed: believable(billed),
    },
    evidence,
    artifacts: [],
  };
}

/** UTF-8 bytes of what a chat model reads, as the client wrote it. */
export function promptBytes(inputJson: string): number {
  return ['messages', 'tools', 'response_format'].reduce(
    (sum, name) => sum + Buffer.byteLength(rawMember(inputJson, name) ?? ''),
    0,
  );
}

function openRoute(ctx: Context, row: FullRoute): Route {
  const apiKey = row.sealedKey && openSeal(ctx.secrets.key, row.sealedKey);
  return {
    id: row.id,
    provider: row.provider,
    upstreamModel: row.upstreamModel,
    baseUrl: row.baseUrl ?? '',
    apiKey,
  };
}

async function openAudio(ctx: Context, accountId: string, input: string): Promise<Call['audio']> {
  const { artifact: id, audio } = JSON.parse(input) as { artifact?: string; audio?: string };
  if (audio !== undefined) {
    const bytes = Buffer.from(audio, 'base64');
    return { contentType: 'audio/wav', bytes: bytes.length, open: async () => Readable.from([bytes]) };
  }
  const artifact: Artifact | null = id === undefined ? null : await findArtifact(ctx.flow, accountId, id);
  if (!artifact) return null;
  return {
    contentType: artifact.contentType,
    bytes: artifact.bytes,
    open: () => ctx.storage.open(artifact.storageKey),
  };
}
