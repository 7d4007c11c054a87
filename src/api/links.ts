import { createHmac, timingSafeEqual } from 'node:crypto';
import type { KeyRing, RingKey } from '../domain/key-ring.ts';

interface Link {
  id: string;
  /** Unix seconds. */
  expires: number;
}

/** What a link lets its bearer do: read the bytes, or send those that were promised. */
type Use = 'link' | 'upload';

/** Signs one artifact until one instant, under the ring's first key. */
export const linkSignature = (keys: KeyRing, link: Link, use: Use = 'link'): string =>
  sign(keys[0], link, use);

/** A link outlives the key it was made under for as long as that is still of the ring. */
export function verifyLink(
  keys: KeyRing,
  { signature, ...link }: Link & { signature: string },
  use: Use = 'link',
): boolean {
  if (link.expires * 1000 <= Date.now()) return false;
  const given = Buffer.from(signature);
  return keys.some((key) => {
    const right = Buffer.from(sign(key, link, use));
    return given.length === right.length && timingSafeEqual(given, right);
  });
}

const sign = ({ signing }: RingKey, { id, expires }: Link, use: Use): string =>
  createHmac('sha256', signing).update(`artifact-${use}.${id}.${expires}`).digest('base64url');
