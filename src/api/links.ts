import { createHmac, timingSafeEqual } from 'node:crypto';
import type { KeyRing, RingKey } from '../domain/key-ring.ts';

interface Link {
  id: string;
  /** Unix seconds. */
  expires: number;
}

/** Signs one artifact until one instant, under the ring's first key. */
export const linkSignature = (keys: KeyRing, link: Link): string => sign(keys[0], link);

/** A link outlives the key it was made under for as long as that is still of the ring. */
export function verifyLink(keys: KeyRing, { signature, ...link }: Link & { signature: string }): boolean {
  if (link.expires * 1000 <= Date.now()) return false;
  const given = Buffer.from(signature);
  return keys.some((key) => {
    const right = Buffer.from(sign(key, link));
    return given.length === right.length && timingSafeEqual(given, right);
  });
}

const sign = ({ signing }: RingKey, { id, expires }: Link): string =>
  createHmac('sha256', signing).update(`artifact-link.${id}.${expires}`).digest('base64url');
