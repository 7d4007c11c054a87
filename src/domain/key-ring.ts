// The installation's keys, of which the first seals and signs, and all open and verify: so that one can be replaced.
import { hkdfSync } from 'node:crypto';

export interface RingKey {
  /** 4 bytes that name the key in what it has sealed. They are drawn from it, and tell nothing of it. */
  id: Buffer;
  /** 32 bytes each, for one purpose each. */
  sealing: Buffer;
  signing: Buffer;
}

export type KeyRing = readonly [RingKey, ...RingKey[]];

export const RING_KEY_BYTES = 32;

/** @param text keys in base64, separated by commas; null is answered for what is none of 32 bytes each, all different */
export function readKeyRing(text: string): KeyRing | null {
  const raw = text.split(',').map((part) => Buffer.from(part.trim(), 'base64'));
  if (raw.some((key) => key.length !== RING_KEY_BYTES)) return null;
  const [first, ...rest] = raw.map(ringKey);
  if (!first) return null;
  const ring: KeyRing = [first, ...rest];
  return new Set(ring.map(keyName)).size === ring.length ? ring : null;
}

function ringKey(key: Buffer): RingKey {
  const drawn = (purpose: string, bytes: number) =>
    Buffer.from(hkdfSync('sha256', key, '', `millrace.${purpose}`, bytes));
  return { id: drawn('id', 4), sealing: drawn('seal', 32), signing: drawn('sign', 32) };
}

/** The id, as people read it. */
export const keyName = ({ id }: Pick<RingKey, 'id'>): string => id.toString('hex');
