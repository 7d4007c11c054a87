// API keys: `mr_<live|test|admin>_<12 lookup><32 secret><6 checksum>`. The checksum tells garbage from keys before any
// database is asked, and lets a secret scanner be sure; only an HMAC of the secret is ever stored.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { crc32 } from 'node:zlib';

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const PATTERN = /^mr_(live|test|admin)_([0-9A-Za-z]{12})([0-9A-Za-z]{32})([0-9A-Za-z]{6})$/;

export type KeyMode = 'live' | 'test' | 'admin';

export interface KeyParts {
  mode: KeyMode;
  /** By which the row is found; no secret. */
  lookup: string;
  secret: string;
}

export function makeKey(mode: KeyMode): KeyParts & { token: string; last4: string } {
  const parts = { mode, lookup: randomBase62(12), secret: randomBase62(32) };
  const body = `mr_${mode}_${parts.lookup}${parts.secret}`;
  const token = body + checksum(body);
  return { ...parts, token, last4: token.slice(-4) };
}

/** Null: not a key, by its shape or its checksum. */
export function parseKey(token: string): KeyParts | null {
  const match = PATTERN.exec(token);
  if (!match || checksum(token.slice(0, -6)) !== match[4]) return null;
  return { mode: match[1] as KeyMode, lookup: match[2] as string, secret: match[3] as string };
}

/** What is stored of a key: worthless without the pepper, which is not in the database. */
export function hashSecret(pepper: Buffer, { lookup, secret }: Pick<KeyParts, 'lookup' | 'secret'>): Buffer {
  return createHmac('sha256', pepper).update(`${lookup}.${secret}`).digest();
}

export function sameHash(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

function checksum(body: string): string {
  let rest = crc32(body);
  let text = '';
  for (let i = 0; i < 6; i++) {
    text = BASE62[rest % 62] + text;
    rest = Math.floor(rest / 62);
  }
  return text;
}

/** Rejects the bytes that would make some letters likelier than others. */
function randomBase62(length: number): string {
  let text = '';
  while (text.length < length) {
    for (const byte of randomBytes(length)) if (byte < 248 && text.length < length) text += BASE62[byte % 62];
  }
  return text;
}
