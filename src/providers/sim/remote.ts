// From an exchange to a result. Work that was accepted for later has its name kept first, and is asked for until it is done.
import { setTimeout as sleep } from 'node:timers/promises';
import { type Ended, exchange } from '../exchange.ts';
import { failed, type Failure, failureOf, malformed, parsed, TOO_LARGE, TOO_LATE } from '../failure.ts';
import type { CallResult } from '../provider.ts';
import { type Asked, type Link, type Reader, requestFor, secretsOf, stopped } from './link.ts';

const FIRST_WAIT_MS = 50;
const MOST_WAIT_MS = 1_000;
/** So many answers in a row that the work is unknown are believed. */
const MOST_UNKNOWN = 3;
/** Ten large images in base64 fit, and the longest speech. */
const MOST_BYTES = 160 << 20;

const CANCELED: Failure = {
  code: 'provider_unavailable',
  retryable: true,
  message: 'The provider canceled the work.',
};
const FORGOTTEN: Failure = {
  code: 'provider_unavailable',
  retryable: true,
  message: 'The provider knows nothing of the work any more.',
};

/** A failure, a 202 followed to its end, or what `read` makes of a success. */
export async function resultOf(
  link: Link,
  { ended, ...asked }: Asked & { ended: Ended },
  read: Reader,
): Promise<CallResult> {
  if (ended.how === 'stopped') return stopped(ended);
  const failure = failureOf(ended, secretsOf(asked));
  if (failure) return failure;
  return ended.head?.status === 202 ? accepted(link, { ...asked, ended }, read) : read(ended);
}

/** Follows a 202 to its end. */
export async function accepted(
  link: Link,
  { ended, ...asked }: Asked & { ended: Ended },
  read: Reader,
): Promise<CallResult> {
  const body = parsed(ended.body);
  const { id } = Object(body) as { id?: unknown };
  if (typeof id !== 'string' || !/^[\w-]{1,128}$/.test(id)) {
    return malformed(ended, { body, what: 'work accepted without an id', secrets: secretsOf(asked) });
  }
  await asked.call.onRemoteId(id);
  return (await follow(link, { ...asked, id }, read)) ?? failed(ended, FORGOTTEN);
}

/**
 * Asks until the work is done, the signal comes or the kind's time is over. Polls that are lost are simply repeated. Null: the
 * simulator knows nothing of the work.
 */
export async function follow(
  link: Link,
  { id, ...asked }: Asked & { id: string },
  read: Reader,
): Promise<CallResult | null> {
  const until = performance.now() + link.totalMs[asked.call.kind];
  const request = {
    ...requestFor(link, asked, `/v1/remote/${id}`),
    method: 'GET',
    body: null,
    maxBytes: MOST_BYTES,
  } as const;
  let unknown = 0;
  let strange: string | null = null;
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(wait * 1.5, MOST_WAIT_MS)) {
    const rest = until - performance.now();
    const ended = await exchange(link.agent, { ...request, totalMs: Math.max(1, rest) });
    // Whatever became of this poll, the work itself was sent.
    if (ended.how === 'stopped') return stopped({ ...ended, sent: true });
    if (rest <= 0 || ended.how === 'timeout') return failed(ended, TOO_LATE);
    if (ended.how === 'too_large') return failed(ended, TOO_LARGE);
    const { result, status } = verdict(ended, { asked, read });
    if (result)
      return strange === null ? result : noted(result, `the work had the unknown status ${strange}`);
    strange = status ?? strange;
    unknown = ended.head?.status === 404 ? unknown + 1 : 0;
    if (unknown === MOST_UNKNOWN) return null;
    await sleep(wait, undefined, { signal: asked.call.signal }).catch(() => {}); // the next poll answers `stopped`
  }
}

const noted = (result: CallResult, note: string): CallResult => ({
  ...result,
  evidence: { ...result.evidence, note },
});

interface Verdict {
  /** Null: not done yet. */
  result: CallResult | null;
  /** A status that nobody here knows: the work is taken to go on, and the operator is told. */
  status?: string | null;
}

function verdict(ended: Ended, { asked, read }: { asked: Asked; read: Reader }): Verdict {
  if (ended.head?.status !== 200) return { result: null };
  const body = parsed(ended.body);
  const { status, result } = Object(body) as { status?: unknown; result?: unknown };
  switch (status) {
    case 'succeeded':
      return { result: read(unwrapped(ended, result)) };
    case 'failed':
      return { result: malformed(ended, { body, what: 'the work failed', secrets: secretsOf(asked) }) };
    case 'canceled':
      return { result: failed(ended, CANCELED) };
    case 'processing':
      return { result: null };
    default:
      return { result: null, status: typeof status === 'string' ? status.slice(0, 40) : null };
  }
}

/** The exchange as it would have been, had the result come at once. */
function unwrapped(ended: Ended, result: unknown): Ended {
  const {
    content_type: type,
    b64,
    headers,
  } = Object(result) as { content_type?: unknown; b64?: unknown; headers?: unknown };
  if (typeof type !== 'string' || typeof b64 !== 'string')
    return { ...ended, body: Buffer.from(JSON.stringify(result) ?? '') };
  const pairs = Array.isArray(headers) ? (headers as string[]) : [];
  const named = Object.fromEntries(
    pairs.flatMap((name, i) => (i % 2 === 0 ? [[name, pairs[i + 1]]] : [])) as [string, string][],
  );
  return {
    ...ended,
    head: { status: 200, headers: { ...named, 'content-type': type } },
    body: Buffer.from(b64, 'base64'),
  };
}
