import { randomUUIDv7 } from 'node:crypto';

/** Crockford's base32 in lower case: no i, l, o, u. */
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

export type IdPrefix =
  | 'acc'
  | 'job'
  | 'ev'
  | 'dlv'
  | 'whe'
  | 'art'
  | 'key'
  | 'tkt'
  | 'tx'
  | 'lot'
  | 'prv'
  | 'rte'
  | 'req'
  | 'wkr'
  | 'log';

/** `<prefix>_` and 26 characters of a UUIDv7, so that ids sort by time and select with a double click. */
export function newId(prefix: IdPrefix): string {
  return `${prefix}_${base32(randomUUIDv7())}`;
}

/** The least id that could have been made at that instant: ids begin with their milliseconds, in ten characters. */
export function idFloor(prefix: IdPrefix, at: Date): string {
  let rest = at.getTime();
  let text = '';
  for (let i = 0; i < 10; i++) {
    text = ALPHABET[rest % 32] + text;
    rest = Math.floor(rest / 32);
  }
  return `${prefix}_${text}${'0'.repeat(16)}`;
}

/** Whether `text` could be an id of that kind. A cheap gate, so that nonsense never reaches the database. */
export function isId(prefix: IdPrefix, text: string): boolean {
  return (
    text.length === prefix.length + 27 &&
    text.startsWith(`${prefix}_`) &&
    /^[0-9a-hjkmnp-tv-z]{26}$/.test(text.slice(-26))
  );
}

/** 128 bits as 26 characters: the first carries three bits, each other five. */
function base32(uuid: string): string {
  let text = '';
  let pending = 0;
  let bits = 2;
  for (let i = 0; i < 36; i++) {
    const code = uuid.charCodeAt(i);
    if (code === 45) continue;
    pending = ((pending << 4) | (code < 58 ? code - 48 : code - 87)) & 0x1ff;
    bits += 4;
    if (bits < 5) continue;
    bits -= 5;
    text += ALPHABET[(pending >> bits) & 31];
  }
  return text;
}
