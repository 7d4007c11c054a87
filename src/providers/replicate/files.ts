// The bytes behind what a prediction names: data: URIs, and URLs of hosts that the route's data allows. No redirect is followed,
// and the key goes to the API's own origin alone.
import { setTimeout as sleep } from 'node:timers/promises';
import { type Ended, exchange } from '../exchange.ts';
import { failed, malformed, retryAfterMs, TOO_LARGE, TOO_LATE } from '../failure.ts';
import type { CallResult, Route } from '../provider.ts';
import { stoppedWork } from '../remote.ts';
import { type Asked, headersOf, type Link, originOf, secretsOf } from './link.ts';

const USUAL_HOSTS = ['replicate.delivery'];
const FETCH_MS = 120_000;
const IDLE_MS = 30_000;
const MOST_PAUSE_MS = 30_000;

export interface FileBytes {
  bytes: Buffer;
  /** What the vendor calls it; null: it did not say. */
  contentType: string | null;
}

/** @param after the answer that named it @returns its bytes, or what becomes of the attempt without them */
export async function fetchFile(
  link: Link,
  asked: Asked,
  { uri, maxBytes, after }: { uri: unknown; maxBytes: number; after: Ended },
): Promise<FileBytes | CallResult> {
  if (typeof uri !== 'string')
    return malformed(after, { body: undefined, what: 'an output without a URL', secrets: secretsOf(asked) });
  if (uri.startsWith('data:')) return fromData(uri, { maxBytes, after });
  const url = URL.canParse(uri) ? new URL(uri) : null;
  if (!url || !mayFetch(url, asked.route)) {
    asked.call.tell(
      `an output at ${url?.protocol ?? ''}//${url?.host ?? 'no URL'}, from where none is fetched`,
    );
    return foreign(after);
  }
  // The work is done and paid: it is given up only when its result cannot be had for a while.
  for (let tries = 0; ; tries++) {
    const ended = await get(link, asked, { url, maxBytes });
    if (ended.how === 'stopped') return stoppedWork(ended);
    if (ended.how === 'too_large') return failed(ended, TOO_LARGE);
    if (ended.how === 'done' && ended.head?.status === 200)
      return { bytes: ended.body, contentType: ended.head.headers['content-type'] ?? null };
    const waitMs = link.againMs[tries];
    if (waitMs === undefined || isFinal(ended)) return gone(ended);
    const asked429 = (ended.head && retryAfterMs(ended.head.headers)) ?? 0;
    const pauseMs = Math.max(waitMs, Math.min(asked429, MOST_PAUSE_MS));
    await sleep(pauseMs, undefined, { signal: asked.call.signal }).catch(() => {}); // the next try answers `stopped`
  }
}

function get(
  link: Link,
  { route, call }: Asked,
  { url, maxBytes }: { url: URL; maxBytes: number },
): Promise<Ended> {
  const own = url.origin === originOf(route);
  return exchange(link.agent, {
    method: 'GET',
    origin: url.origin,
    path: url.pathname + url.search,
    headers: own ? headersOf(route).slice(2) : ['user-agent', 'millrace'],
    body: null,
    signal: call.signal,
    totalMs: FETCH_MS,
    idleMs: IDLE_MS,
    maxBytes,
  });
}

/** https of a host that is allowed, or the API's own origin. */
export function mayFetch(url: URL, route: Route): boolean {
  if (url.username !== '' || url.password !== '') return false;
  if (url.origin === originOf(route)) return true;
  const hosts = route.data.output_hosts ?? USUAL_HOSTS;
  const named = hosts.some((host) => url.hostname === host || url.hostname.endsWith(`.${host}`));
  return url.protocol === 'https:' && url.port === '' && named;
}

/** A redirect would lead to where nobody allowed; what is not there or not for us will not be there soon. */
const isFinal = ({ how, head }: Ended): boolean =>
  how === 'done' && head !== null && head.status < 500 && ![404, 408, 425, 429].includes(head.status);

const gone = (ended: Ended): CallResult =>
  ended.how === 'timeout'
    ? failed(ended, TOO_LATE)
    : failed(ended, {
        code: 'provider_unavailable',
        retryable: true,
        message: "The provider's result could not be fetched.",
        note: `an output was answered with ${ended.head ? `HTTP ${ended.head.status}` : (ended.fault ?? ended.how)}`,
      });

/** Final: the next attempt's output would lie there, too, until the operator allows it. */
const foreign = (after: Ended): CallResult =>
  failed(after, {
    code: 'provider_unavailable',
    retryable: true,
    oursToMend: true,
    message: "The provider's result could not be fetched.",
    note: "an output at a host that the route's data does not name",
  });

function fromData(
  uri: string,
  { maxBytes, after }: { maxBytes: number; after: Ended },
): FileBytes | CallResult {
  const comma = uri.indexOf(',');
  const [type = '', ...rest] = uri.slice('data:'.length, Math.max(comma, 5)).split(';');
  const text = uri.slice(comma + 1);
  const bytes = rest.includes('base64') ? Buffer.from(text, 'base64') : Buffer.from(unescaped(text), 'utf8');
  if (bytes.length > maxBytes) return failed(after, TOO_LARGE);
  return { bytes, contentType: type === '' ? null : type };
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
