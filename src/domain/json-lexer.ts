// Reads one JSON token at a time off a body's bytes and builds nothing. The gate puts the tokens together.

/** The first thing wrong with a body. Thrown inside, turned into a JsonFault at the gate. */
export class Refusal extends Error {
  readonly offset: number;

  constructor(offset: number, reason: string) {
    super(reason);
    this.offset = offset;
  }
}

/** ASCII codes of the characters JSON is made of. */
export const CODE = {
  quote: 0x22,
  comma: 0x2c,
  minus: 0x2d,
  zero: 0x30,
  nine: 0x39,
  colon: 0x3a,
  openArray: 0x5b,
  backslash: 0x5c,
  closeArray: 0x5d,
  openObject: 0x7b,
  closeObject: 0x7d,
} as const;

const TRUE = Buffer.from('true');
const FALSE = Buffer.from('false');
const NULL = Buffer.from('null');

/** 1 for the bytes that a string may not simply run over: its end, an escape, a control character. */
const STOPS = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte < 0x20 || byte === CODE.quote || byte === CODE.backslash ? 1 : 0,
);

const SPACES = Uint8Array.from({ length: 256 }, (_, byte) =>
  [0x20, 0x09, 0x0a, 0x0d].includes(byte) ? 1 : 0,
);

const DIGITS = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte >= CODE.zero && byte <= CODE.nine ? 1 : 0,
);

const SHORT_ESCAPES = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte < 0x80 && '"\\/bfnrt'.includes(String.fromCharCode(byte)) ? 1 : 0,
);

/** What the names of fields are made of. No serializer escapes any of it. */
const WORD = Uint8Array.from({ length: 128 }, (_, code) =>
  /[\w$.:-]/.test(String.fromCharCode(code)) ? 1 : 0,
);

/** A hexadecimal digit's value, or -1, whose sign outlives every shift and `|`. */
const HEX = Int8Array.from({ length: 256 }, (_, byte) => {
  const value = Number.parseInt(String.fromCharCode(byte), 16);
  return Number.isNaN(value) ? -1 : value;
});

/**
 * Whether none of a word's four bytes is in STOPS: bytes under 0x20, or 0 once a quote or a backslash is xor-ed away,
 * borrow from their own top bit. A borrow can only spread from such a byte, so a "yes" is always right.
 */
function plain(word: number): boolean {
  const quotes = word ^ 0x22222222;
  const slashes = word ^ 0x5c5c5c5c;
  const borrowed = (word - 0x20202020) | (quotes - 0x01010101) | (slashes - 0x01010101);
  return (borrowed & ~word & 0x80808080) === 0;
}

/** Every method starts at `at` and leaves it behind what it read, or throws a Refusal. The bytes are known to be UTF-8. */
export class Lexer {
  readonly bytes: Buffer;
  readonly end: number;
  at = 0;
  /** Whether the last string spelled one of WORD as \uXXXX. */
  wordEscaped = false;
  /** The whole four-byte words that end within the body; the first may begin up to three bytes (`#shift`) before it. */
  readonly #words: Int32Array;
  readonly #shift: number;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.end = bytes.length;
    this.#shift = bytes.byteOffset & 3;
    const from = bytes.byteOffset - this.#shift;
    this.#words = new Int32Array(bytes.buffer, from, (bytes.length + this.#shift) >> 2);
  }

  /** Skips white space. Answers the byte that follows, -1 at the end. */
  next(): number {
    const { bytes, end } = this;
    let at = this.at;
    while (at < end && SPACES[bytes[at]!] === 1) at++;
    this.at = at;
    return at < end ? bytes[at]! : -1;
  }

  /** A string, from its opening quote. Answers whether it holds escapes. */
  string(): boolean {
    this.wordEscaped = false;
    let escaped = false;
    let at = this.#stop(this.at + 1);
    for (;;) {
      if (at === this.end) throw new Refusal(at, 'unexpected end');
      const byte = this.bytes[at];
      if (byte === CODE.quote) {
        this.at = at + 1;
        return escaped;
      }
      if (byte !== CODE.backslash) throw new Refusal(at, 'control character in a string');
      escaped = true;
      at = this.#stop(this.#escape(at));
    }
  }

  /** Where the first byte at or after `at` is that stands in STOPS; the end if there is none. */
  #stop(at: number): number {
    const { bytes, end } = this;
    const words = this.#words;
    const shift = this.#shift;
    do {
      if (at === end || STOPS[bytes[at]!] === 1) return at;
      at++;
    } while (((at + shift) & 3) !== 0);
    let word = (at + shift) >> 2;
    while (word < words.length && plain(words[word]!)) word++;
    at = (word << 2) - shift;
    while (at < end && STOPS[bytes[at]!] === 0) at++;
    return at;
  }

  /** Answers where the escape that begins at `at` ends. */
  #escape(at: number): number {
    const { bytes, end } = this;
    if (at + 1 >= end) throw new Refusal(end, 'unexpected end');
    const letter = bytes[at + 1]!;
    if (SHORT_ESCAPES[letter] === 1) return at + 2;
    if (letter !== 0x75) throw new Refusal(at, 'unknown escape');
    const unit = this.#unit(at + 2);
    if (unit === 0) throw new Refusal(at, 'NUL is not allowed');
    if (unit < 0 && at + 6 > end) throw new Refusal(end, 'unexpected end');
    if (unit < 0) throw new Refusal(at, 'unknown escape');
    if (unit < 0x80 && WORD[unit] === 1) this.wordEscaped = true;
    if (unit < 0xd800 || unit > 0xdfff) return at + 6;
    const paired = unit < 0xdc00 && bytes[at + 6] === CODE.backslash && bytes[at + 7] === 0x75;
    const low = paired ? this.#unit(at + 8) : 0;
    if (low < 0xdc00 || low > 0xdfff) throw new Refusal(at, 'lone surrogate');
    return at + 12;
  }

  /** The UTF-16 code unit that four hexadecimal digits at `at` name; negative if they are not that. */
  #unit(at: number): number {
    const { bytes } = this;
    if (at + 4 > this.end) return -1;
    const high = (HEX[bytes[at]!]! << 12) | (HEX[bytes[at + 1]!]! << 8);
    return high | (HEX[bytes[at + 2]!]! << 4) | HEX[bytes[at + 3]!]!;
  }

  number(): void {
    const { bytes, end, at: from } = this;
    const whole = bytes[from] === CODE.minus ? from + 1 : from;
    let at = bytes[whole] === CODE.zero ? whole + 1 : this.#digits(whole);
    let reach = at - whole;
    if (at < end && bytes[at] === 0x2e) at = this.#digits(at + 1);
    if (at < end && (bytes[at]! | 0x20) === 0x65) {
      const sign = bytes[at + 1];
      const power = sign === CODE.minus || sign === 0x2b ? at + 2 : at + 1;
      at = this.#digits(power);
      reach += at - power < 3 ? 99 : 999;
    }
    this.at = at;
    // Below 1e308 by its digits alone; the few that may not be are worth a real conversion.
    if (reach > 308 && !Number.isFinite(Number(bytes.toString('latin1', from, at)))) {
      throw new Refusal(from, 'number too large');
    }
  }

  /** Where the digits end that begin at `from`; there must be at least one. */
  #digits(from: number): number {
    const { bytes, end } = this;
    let at = from;
    while (at < end && DIGITS[bytes[at]!] === 1) at++;
    if (at > from) return at;
    this.at = at;
    throw this.unexpected();
  }

  /** `true`, `false` or `null`. */
  word(): void {
    const first = this.bytes[this.at];
    const word = first === TRUE[0] ? TRUE : first === FALSE[0] ? FALSE : NULL;
    for (let i = 0; i < word.length; i++, this.at++) {
      if (this.bytes[this.at] !== word[i]) throw this.unexpected();
    }
  }

  /** What to throw when the byte at `at` has no business there. Never echoes more than that byte. */
  unexpected(): Refusal {
    if (this.at >= this.end) return new Refusal(this.end, 'unexpected end');
    const byte = this.bytes[this.at]!;
    const shown = byte > 0x20 && byte < 0x7f ? ` ${String.fromCharCode(byte)}` : '';
    return new Refusal(this.at, `unexpected character${shown}`);
  }
}
