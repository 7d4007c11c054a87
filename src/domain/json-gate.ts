// The gate before JSON.parse: what a client may send as a body. It refuses what JSON.parse would refuse, what it would
// quietly change (twin keys, 1e200000, bytes that are not UTF-8) and what the database cannot keep (NUL, half surrogates).
import { isUtf8 } from 'node:buffer';
import { type Key, OpenKeys } from './json-keys.ts';
import { CODE, Lexer, Refusal } from './json-lexer.ts';

export interface JsonFault {
  /** In bytes from the start of the body; the body's length where it ends too early. */
  offset: number;
  /** A few English words. At most one character of the body is echoed. */
  reason: string;
}

export interface JsonLimits {
  /** How many arrays and objects may be open at once. */
  maxDepth: number;
  /** How many object members the whole body may have. */
  maxKeys: number;
  /**
   * Objects down to this depth may not repeat a key (the body itself has depth 1, arrays count). Default 4: body and
   * `input`, and in a batch, where an object and an array lie around them, item and `input`.
   */
  duplicateKeysToDepth?: number;
}

/**
 * Null if `bytes` are exactly one JSON text (RFC 8259) within `limits` that JSON.parse will take as it stands; else the
 * first fault met. Time grows with the length alone; nothing is built, nothing recurses.
 */
export function checkJson(bytes: Buffer, limits: JsonLimits): JsonFault | null {
  try {
    if (bytes.length === 0) throw new Refusal(0, 'empty body');
    if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) throw new Refusal(0, 'byte order mark');
    if (!isUtf8(bytes)) throw new Refusal(utf8FaultAt(bytes), 'not UTF-8');
    new Gate(bytes, limits).text();
    return null;
  } catch (error) {
    if (error instanceof Refusal) return { offset: error.offset, reason: error.message };
    throw error;
  }
}

class Gate {
  readonly #lexer: Lexer;
  readonly #keys: OpenKeys;
  readonly #maxDepth: number;
  readonly #maxKeys: number;
  readonly #duplicateKeysToDepth: number;
  /** By depth: the byte that closes what is open there. */
  readonly #closers: number[] = [];
  #depth = 0;
  #members = 0;

  constructor(bytes: Buffer, limits: JsonLimits) {
    this.#lexer = new Lexer(bytes);
    this.#keys = new OpenKeys(bytes);
    this.#maxDepth = limits.maxDepth;
    this.#maxKeys = limits.maxKeys;
    this.#duplicateKeysToDepth = limits.duplicateKeysToDepth ?? 4;
  }

  text(): void {
    do {
      this.#value();
    } while (this.#more());
    if (this.#lexer.next() !== -1) throw new Refusal(this.#lexer.at, 'text after the JSON value');
  }

  /** A value; of arrays and objects that are not empty, all up to the first value in them that is no such thing. */
  #value(): void {
    for (;;) {
      const byte = this.#lexer.next();
      if (byte === CODE.quote) return void this.#lexer.string();
      if (byte === CODE.openObject || byte === CODE.openArray) {
        if (this.#open(byte)) continue;
        return;
      }
      if (byte === CODE.minus || (byte >= CODE.zero && byte <= CODE.nine)) return this.#lexer.number();
      return this.#lexer.word();
    }
  }

  /** Enters an array or object, up to its first value. False if it is empty, and left already. */
  #open(opener: number): boolean {
    const lexer = this.#lexer;
    if (this.#depth === this.#maxDepth)
      throw new Refusal(lexer.at, `more than ${this.#maxDepth} levels deep`);
    lexer.at++;
    // `[` and `]`, `{` and `}` lie two apart.
    const closer = opener + 2;
    this.#closers[++this.#depth] = closer;
    const isObject = closer === CODE.closeObject;
    if (isObject && this.#depth <= this.#duplicateKeysToDepth) this.#keys.open(this.#depth);
    if (lexer.next() === closer) {
      this.#close();
      return false;
    }
    if (isObject) this.#key();
    return true;
  }

  #close(): void {
    this.#lexer.at++;
    if (this.#closers[this.#depth] === CODE.closeObject && this.#depth <= this.#duplicateKeysToDepth) {
      this.#keys.close(this.#depth);
    }
    this.#depth--;
  }

  /** After a value: leaves what ends here. True if it went to the next value, false at the end of it all. */
  #more(): boolean {
    const lexer = this.#lexer;
    while (this.#depth > 0) {
      const byte = lexer.next();
      const closer = this.#closers[this.#depth]!;
      if (byte === CODE.comma) {
        lexer.at++;
        if (closer === CODE.closeObject) this.#key();
        return true;
      }
      if (byte !== closer) throw lexer.unexpected();
      this.#close();
    }
    return false;
  }

  /** A key and its colon. */
  #key(): void {
    const lexer = this.#lexer;
    if (lexer.next() !== CODE.quote) throw lexer.unexpected();
    const from = lexer.at;
    const escaped = lexer.string();
    const key: Key = { from: from + 1, to: lexer.at - 1, escaped };
    if (lexer.next() !== CODE.colon) throw lexer.unexpected();
    lexer.at++;
    if (++this.#members > this.#maxKeys) throw new Refusal(from, `more than ${this.#maxKeys} keys`);
    if (this.#keys.isProto(key)) throw new Refusal(from, 'forbidden key');
    if (this.#depth <= this.#duplicateKeysToDepth && !this.#keys.add(this.#depth, key)) {
      throw new Refusal(from, 'duplicate key');
    }
    // JSON.parse of Node 24 (nodejs/node#63785) may read "\u006e" as "\\", once anybody has sent that key in such an
    // object: then we would price one `n`, and the vendor, who gets the bytes, would bill the other. Keys with other
    // escapes may be misread too, but they are nobody's field, and never misread as one.
    if (escaped && lexer.wordEscaped) throw new Refusal(from, 'needless escape in a key');
  }
}

/** Where the first sequence begins that is not UTF-8, in bytes that hold one. */
function utf8FaultAt(bytes: Buffer): number {
  let at = 0;
  for (;;) {
    const lead = bytes[at]!;
    if (lead < 0x80) {
      at++;
      continue;
    }
    // The second byte's range keeps out overlong forms, surrogates and what lies beyond U+10FFFF.
    const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    const second = bytes[at + 1] ?? 0;
    if (lead < 0xc2 || lead > 0xf4 || second < low || second > high) return at;
    const size = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    for (let i = 2; i < size; i++) if ((bytes[at + i]! & 0xc0) !== 0x80) return at;
    at += size;
  }
}
