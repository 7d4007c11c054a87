// From an exchange to a result. Work that was accepted for later has its name kept first, and is asked for until it is done.
import type { Ended } from '../exchange.ts';
import { CANCELED, failed, failureOf, FORGOTTEN, malformed, parsed } from '../failure.ts';
import type { CallResult } from '../provider.ts';
import { type Pace, pollUntilDone, unknownStatus, type Verdict } from '../remote.ts';
import { type Asked, type Link, type Reader, requestFor, secretsOf, stopped } from './link.ts';

const PACE: Pace = { firstMs: 50, mostMs: 1_000 };
/** Ten large images in base64 fit, and the longest speech. */
const MOST_BYTES = 160 << 20;

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

/** Null: the simulator knows nothing of the work. */
export function follow(
  link: Link,
  { id, ...asked }: Asked & { id: string },
  read: Reader,
): Promise<CallResult | null> {
  const { origin, path, headers } = requestFor(link, asked, `/v1/remote/${id}`);
  return pollUntilDone({
    agent: link.agent,
    call: asked.call,
    request: { origin, path, headers, maxBytes: MOST_BYTES },
    pace: PACE,
    totalMs: link.totalMs[asked.call.kind],
    read: (body, ended) => verdict(body, ended, { asked, read }),
  });
}

function verdict(body: unknown, ended: Ended, { asked, read }: { asked: Asked; read: Reader }): Verdict {
  const { status, result } = Object(body) as { status?: unknown; result?: unknown };
  switch (status) {
    case 'succeeded':
      return { is: 'done', result: read(unwrapped(ended, result)) };
    case 'failed':
      return {
        is: 'done',
        result: malformed(ended, {
          body,
          what: 'the work failed',
          secrets: secretsOf(asked),
          over: true,
        }),
      };
    case 'canceled':
      return { is: 'done', result: failed(ended, CANCELED) };
    case 'processing':
      return { is: 'goes on' };
    default:
      return { is: 'goes on', strange: unknownStatus(status) };
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
