// One attempt: a claimed job's call of its provider, and what came of it. Never throws for a provider's fault.
import type { Context } from '../context.ts';
import { crashPoint } from '../crash.ts';
import { persistently } from '../db/transaction.ts';
import type { Bounds } from '../domain/job.ts';
import type { Call, CallResult, Provider } from '../providers/provider.ts';
import { StorageDown } from '../storage/storage.ts';
import { noteRemoteId } from '../store/attempts.ts';
import type { Claimed } from '../store/claims.ts';
import { applyBrake, type Brake, type Target } from './brake.ts';
import { callbackUrl } from './callback.ts';
import { conclude, type Ended, failed, STORAGE_AWAY, stopped } from './conclude.ts';
import { hear } from './hear.ts';
import { findRoute, openRoute } from './open-call.ts';
import type { Pauses } from './pauses.ts';
import { type AppendStep, recordDeltas } from './record-deltas.ts';
import type { Settlement } from './settle.ts';

/** How long the vendor's name of the work is offered to a database that is away. */
const NAME_MS = 60_000;

export interface RunTools {
  provider(name: string): Provider;
  appendDeltas: AppendStep;
  pauses: Pauses;
}

/** What is known of a job that is run. */
export type Taken = Pick<
  Claimed,
  | 'accountId'
  | 'jobId'
  | 'epoch'
  | 'kind'
  | 'model'
  | 'routeId'
  | 'boundsJson'
  | 'inputJson'
  | 'inputKey'
  | 'remainingMs'
  | 'cancelRequested'
  | 'earlier'
>;

export interface Run {
  claimed: Taken;
  brake: Brake;
  /** Providers are asked what became of earlier attempts, and no more: its stop was asked, so it is never run again. */
  onlyAsk?: boolean;
}

/**
 * Null: it is left as it is, for the sweep of others. We are going, its stop was asked, and its work goes on at a vendor under a
 * name that is known: whether it is free only the vendor can say.
 */
export async function run(ctx: Context, tools: RunTools, of: Run): Promise<Settlement | null> {
  const { accountId, jobId, epoch, kind } = of.claimed;
  const underway: Underway = { target: null };
  const ended = await attempt(ctx, tools, { ...of, underway }).catch((error: unknown): Ended => {
    ctx.log.error({ err: error, job: jobId }, 'an attempt broke on our side');
    if (error instanceof StorageDown)
      return failed({ ...STORAGE_AWAY, message: 'The input could not be read from storage.' });
    return broken();
  });
  const named = kind !== 'chat' && underway.target?.key.remoteId != null;
  if (ended.outcome.type === 'interrupted' && named && of.brake.asked.aborted) return null;
  return { accountId, jobId, epoch, ...ended };
}

/** The settlement of an attempt whose own could not be written down: a job must not run for ever. */
export function unwritten({ accountId, jobId, epoch }: Settlement): Settlement {
  return { accountId, jobId, epoch, ...broken() };
}

function broken(): Ended {
  return failed({ code: 'internal', message: 'Something went wrong on our side.', retryable: true });
}

/** The work that is waited for at present. */
interface Underway {
  target: Target | null;
}

async function attempt(
  ctx: Context,
  tools: RunTools,
  { claimed, brake, underway, onlyAsk = false }: Run & { underway: Underway },
): Promise<Ended> {
  if (claimed.cancelRequested && !onlyAsk) return stopped('cancel');
  const { accountId, jobId, epoch, kind, remainingMs } = claimed;
  const input = claimed.inputJson ?? (await ctx.storage.read(claimed.inputKey ?? '')).toString('utf8');
  const recorder = recordDeltas(tools.appendDeltas, { accountId, jobId, attempt: epoch });
  const refers = (kind === 'stt' || kind === 'image') && !onlyAsk;
  const opened = refers ? await hear(ctx, { claimed, input, brake }) : { artifact: null };
  if ('outcome' in opened) return opened;
  const inner = new AbortController();
  const pause = tools.pauses.open(jobId);
  const call: Call = {
    accountId,
    jobId,
    attempt: epoch,
    kind,
    input,
    bounds: JSON.parse(claimed.boundsJson) as Bounds,
    artifact: opened.artifact,
    signal: inner.signal,
    onDelta: (delta) => recorder.add(delta),
    async onRemoteId(remoteId) {
      if (underway.target) underway.target.key.remoteId = remoteId;
      await keepRemoteId(ctx, claimed, remoteId);
    },
    callbackUrl: callbackUrl(ctx, { jobId, attempt: epoch }),
    pause: (ms) => pause.wait(ms, inner.signal),
    tell(note) {
      const { provider, route } = underway.target ?? {};
      ctx.log.warn(
        { job: jobId, provider: provider?.name, route: route?.id, note },
        'a provider says what is not known here',
      );
    },
  };
  const braked = applyBrake({ brake, inner, kind, target: () => underway.target, remainingMs });
  try {
    const asking = { call, claimed, underway };
    const result =
      (await askAfter(ctx, tools, { ...asking, onlyAsk })) ??
      (onlyAsk ? null : await callOnce(ctx, tools, asking));
    if (result === null)
      return onlyAsk ? stopped(brake.asked.reason === 'deadline' ? 'deadline' : 'cancel') : noRoute();
    await recorder.flushed();
    const reason = result.type === 'succeeded' ? null : await braked.reason();
    // The call is over; what is left may take minutes where storage is away, and asks no vendor to stop.
    braked.release();
    return await conclude(ctx, { claimed, call, result, reason, leaving: brake.leaving });
  } finally {
    braked.release();
    pause.close();
  }
}

function noRoute(): Ended {
  const message = 'The model has no route at present.';
  return failed({ code: 'provider_unavailable', message, retryable: true });
}

interface Asking {
  call: Call;
  claimed: Taken;
  underway: Underway;
}

/** What was learned of earlier attempts whose end nobody saw; null: nothing, so the call is to be made. */
async function askAfter(
  ctx: Context,
  tools: RunTools,
  { call, claimed, underway, onlyAsk }: Asking & { onlyAsk: boolean },
): Promise<CallResult | null> {
  // All of them, since one that was cut off while it asked leaves no trace of its own at the vendor; and each at the
  // vendor it went to, which another route's does not know of.
  for (const { routeId, attempt, remoteId } of claimed.earlier) {
    const row = await findRoute(ctx, routeId);
    if (!row) continue;
    const { accountId, jobId } = call;
    const earlier = { attempt, remoteId, callbackUrl: callbackUrl(ctx, { jobId, attempt }) };
    const target: Target = {
      provider: tools.provider(row.provider),
      route: openRoute(ctx, row),
      key: { accountId, jobId, ...earlier },
    };
    underway.target = target;
    const found = await target.provider.lookup?.(target.route, call, earlier);
    // Stopped while asking: of this attempt's own call nothing was sent.
    if (found?.type === 'stopped') return { ...found, evidence: { ...found.evidence, sent: false } };
    // To be begun anew, and by this attempt: the next would hear of the same failure, and none would ever begin anything.
    if (found?.type === 'failed' && found.over && found.retryable && !onlyAsk) continue;
    if (found) return found;
  }
  underway.target = null;
  return null;
}

/** A call whose answer was lost is looked up at once, where the vendor can. Null: the route is not there any more. */
async function callOnce(
  ctx: Context,
  tools: RunTools,
  { call, claimed, underway }: Asking,
): Promise<CallResult | null> {
  const row = await findRoute(ctx, claimed.routeId);
  // Whether this worker has an engine is for its provider to say.
  if (!row?.switchedOn) return null;
  const { accountId, jobId, attempt, callbackUrl } = call;
  const route = openRoute(ctx, row);
  const provider = tools.provider(row.provider);
  const own = { attempt, remoteId: null, callbackUrl };
  underway.target = { provider, route, key: { accountId, jobId, ...own } };
  const result = await provider.call(route, call);
  if (result.type !== 'ambiguous') return result;
  return (await provider.lookup?.(route, call, own)) ?? result;
}

/** Without it in the books the work is still worth waiting for: it is paid, and a database that is away comes back. */
async function keepRemoteId(
  ctx: Context,
  { accountId, jobId, epoch }: Taken,
  remoteId: string,
): Promise<void> {
  crashPoint('remote-known');
  const work = { accountId, jobId, attempt: epoch, remoteId };
  try {
    const ours = await persistently(() => noteRemoteId(ctx.flow, work), { forMs: NAME_MS });
    if (!ours) ctx.log.warn({ job: jobId }, 'work was begun for a job that had moved on meanwhile');
  } catch (error) {
    ctx.log.error({ err: error, job: jobId, remote: remoteId }, "a provider's name of work was not kept");
  }
  crashPoint('remote-stored');
}
