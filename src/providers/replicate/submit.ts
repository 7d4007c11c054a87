// Work is begun once: the answer to a submit is the only place where its name is sure to stand, and Replicate knows no
// idempotency key. So whatever leaves open whether it began is looked up before it is called a failure.
import { type Ended, evidenceOf } from '../exchange.ts';
import { failed, failureOf, malformed, NOT_READ, parsed } from '../failure.ts';
import { formOf } from '../form.ts';
import type { CallResult } from '../provider.ts';
import { follow, NEVER } from './follow.ts';
import { bytesOf, dataUri, inputFor, MOST_INLINE_BYTES } from './input.ts';
import { ask, type Asked, headersOf, type Link, secretsOf } from './link.ts';
import { find } from './list.ts';
import { predictionIn } from './prediction.ts';

/** Once we are told to stop, the name of what was just begun is still waited for: by it, it can be stopped, or taken over. */
const NAME_MS = 2_000;
const UPLOAD_MS = 120_000;

export async function submit(link: Link, asked: Asked): Promise<CallResult> {
  const { route, call } = asked;
  const audio = call.kind === 'stt' ? await audioUri(link, asked) : null;
  if (typeof audio === 'object' && audio !== null) return audio;
  const ended = await ask(link, route, {
    method: 'POST',
    ...target(route.upstreamModel, {
      input: inputFor(asked, audio),
      ...(call.callbackUrl !== null && {
        webhook: call.callbackUrl,
        webhook_events_filter: ['completed'],
      }),
    }),
    signal: later(call.signal, NAME_MS),
    totalMs: link.submitMs,
  });
  const begun = predictionIn(ended);
  if (begun) {
    await call.onRemoteId(begun.id);
    return follow(link, asked, begun.id);
  }
  return withoutName(link, asked, ended);
}

async function withoutName(link: Link, asked: Asked, ended: Ended): Promise<CallResult> {
  const { call } = asked;
  if (ended.how === 'stopped') return { type: 'stopped', text: '', usage: null, evidence: evidenceOf(ended) };
  const status = ended.head?.status ?? 0;
  // An answer that ends in the middle, that comes too late, or that says nothing of use.
  const open = ended.sent && (status === 0 || (status >= 200 && status < 300));
  if (open) {
    const message = 'The provider began the work, perhaps, and did not name it.';
    return { type: 'ambiguous', message, evidence: evidenceOf(ended, `the submit was ${ended.how}`) };
  }
  if (status >= 500) {
    // A gateway may say so of work that began behind it.
    const id = await find(link, asked.route, {
      callbackUrl: call.callbackUrl,
      signal: call.signal,
      tries: 2,
    });
    if (id !== null) {
      await call.onRemoteId(id);
      return follow(link, asked, id);
    }
  }
  const secrets = secretsOf(asked);
  return refusal(ended, asked) ?? malformed(ended, { body: undefined, what: 'no prediction', secrets });
}

/** Its words for a refusal are `{"detail": "...", "title": "..."}`. */
function refusal(ended: Ended, asked: Asked): CallResult | null {
  const { detail } = Object(parsed(ended.body)) as { detail?: unknown };
  if (typeof detail !== 'string') return failureOf(ended, secretsOf(asked));
  const body = Buffer.from(JSON.stringify({ error: { message: detail } }));
  return failureOf({ ...ended, body }, secretsOf(asked));
}

/**
 * `owner/name` for an official model, `owner/name:version` or a bare version for any other; with `deployments/owner/name` for a
 * deployment of the operator's own.
 */
export function target(upstreamModel: string, body: object): { path: string; body: string } {
  const deployment = /^deployments\/([\w.-]+\/[\w.-]+)$/.exec(upstreamModel)?.[1];
  if (deployment !== undefined)
    return { path: `/deployments/${deployment}/predictions`, body: JSON.stringify(body) };
  if (/^[\w.-]+\/[\w.-]+$/.test(upstreamModel))
    return { path: `/models/${upstreamModel}/predictions`, body: JSON.stringify(body) };
  const version = upstreamModel.slice(upstreamModel.lastIndexOf(':') + 1);
  return { path: '/predictions', body: JSON.stringify({ version, ...body }) };
}

/** Audio as the model takes it; a result if it cannot be brought there. */
async function audioUri(link: Link, asked: Asked): Promise<string | CallResult> {
  const { route, call } = asked;
  if (!call.artifact) throw new Error('a transcription needs audio');
  const { artifact } = call;
  if (artifact.bytes <= MOST_INLINE_BYTES) {
    const bytes = await bytesOf(artifact).catch(() => null);
    return bytes ? dataUri(bytes, artifact.contentType) : failed({ ...NEVER, sent: false }, NOT_READ);
  }
  const form = formOf([], { name: 'content', artifact });
  const ended = await ask(link, route, {
    method: 'POST',
    path: '/files',
    headers: [...form.headers, ...headersOf(route).slice(2)],
    body: form.body,
    signal: call.signal,
    totalMs: UPLOAD_MS,
  });
  if (ended.how === 'stopped') {
    // Nothing that is billed was sent.
    return { type: 'stopped', text: '', usage: null, evidence: { ...evidenceOf(ended), sent: false } };
  }
  if (form.lost()) return failed(ended, NOT_READ);
  const { urls } = Object(parsed(ended.body)) as { urls?: { get?: unknown } };
  if (ended.how === 'done' && ended.head !== null && ended.head.status < 300 && typeof urls?.get === 'string')
    return urls.get;
  const failure = refusal(ended, asked);
  // An upload that was lost began no work: it may simply be done again.
  if (failure && failure.type !== 'ambiguous') return failure;
  return failed(ended, {
    code: 'provider_unavailable',
    retryable: true,
    message: 'The audio could not be uploaded to the provider.',
  });
}

/** Aborted so long after `signal`. */
function later(signal: AbortSignal, ms: number): AbortSignal {
  const late = new AbortController();
  const soon = (): void => void setTimeout(() => late.abort('over'), ms).unref();
  if (signal.aborted) late.abort('over');
  else signal.addEventListener('abort', soon, { once: true });
  return late.signal;
}
