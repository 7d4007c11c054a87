// Is this webhook ours, whole and of now? Standard Webhooks, by Web Crypto alone: Node, browsers, edge runtimes.
import type { MillraceEvent } from './events.ts';
import { SignatureError } from './errors.ts';

export interface VerifyOptions {
  /** How far its time may be from now, either way. Default 300. */
  toleranceSeconds?: number;
  /** For tests. Milliseconds since 1970. */
  now?: number;
}

/** As any server has them, in upper or lower case. */
type HeaderSource = Pick<Headers, 'get'> | Record<string, string | string[] | undefined>;

/**
 * The event that a webhook carries.
 * @param body the bytes as they came, not parsed and written again
 * @param secret the endpoint's `whsec_…`; during a rotation the old one and the new
 * @throws SignatureError if it was not signed with it, was changed, or is too old
 */
export async function verify(
  body: string | Uint8Array,
  headers: HeaderSource,
  secret: string | readonly string[],
  { toleranceSeconds = 300, now = Date.now() }: VerifyOptions = {},
): Promise<MillraceEvent> {
  const id = header(headers, 'webhook-id');
  const timestamp = header(headers, 'webhook-timestamp');
  const signatures = header(headers, 'webhook-signature').split(' ');
  const age = now / 1000 - Number(timestamp);
  if (!/^\d+$/.test(timestamp) || !(Math.abs(age) <= toleranceSeconds))
    throw new SignatureError(`The webhook's time is more than ${toleranceSeconds} s from now.`);
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body;
  const signed = joined(new TextEncoder().encode(`${id}.${timestamp}.`), bytes);
  for (const one of typeof secret === 'string' ? [secret] : secret) {
    const key = await keyOf(one);
    for (const signature of signatures) {
      const given = signature.startsWith('v1,') ? fromBase64(signature.slice(3)) : null;
      if (given && (await crypto.subtle.verify('HMAC', key, given, signed)))
        return JSON.parse(new TextDecoder().decode(bytes)) as MillraceEvent;
    }
  }
  throw new SignatureError('The webhook is not signed with this secret, or was changed on its way.');
}

function keyOf(secret: string) {
  const bytes = fromBase64(secret.replace(/^whsec_/, ''));
  if (!bytes) throw new SignatureError('The secret is not one: it begins with whsec_ and goes on in base64.');
  return crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['verify']);
}

function header(headers: HeaderSource, name: string): string {
  const value = hasGet(headers)
    ? headers.get(name)
    : Object.entries(headers).find(([other]) => other.toLowerCase() === name)?.[1];
  const text = Array.isArray(value) ? value[0] : value;
  if (!text) throw new SignatureError(`The webhook lacks the header ${name}.`);
  return text;
}

/** Not `instanceof`: there is more than one class of that name. */
const hasGet = (headers: HeaderSource): headers is Pick<Headers, 'get'> => typeof headers.get === 'function';

function fromBase64(text: string): Uint8Array<ArrayBuffer> | null {
  try {
    return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  } catch {
    return null;
  }
}

function joined(head: Uint8Array, tail: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(head.length + tail.length);
  whole.set(head);
  whole.set(tail, head.length);
  return whole;
}
