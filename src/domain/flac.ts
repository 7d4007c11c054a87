// How long FLAC lasts, frame by frame: from a pipe its header knows no length, and one that is written may be a lie.
import { Steps } from './steps.ts';

/** The mark, one block's head, and the block that comes first and says the rate. */
const INFO_BYTES = 4 + 4 + 34;
/** The longest head of a frame: marks, a number of 7 bytes, a size and a rate of 2 each, and its check. */
const FRAME_HEAD_BYTES = 4 + 7 + 2 + 2 + 1;

export class FlacWalk {
  readonly #steps = new Steps((bytes, at) => this.#read(bytes, at));
  #state: 'begin' | 'blocks' | 'frames' | 'broken' = 'begin';
  #rate = 0;
  #samples = 0;

  push(chunk: Buffer): void {
    this.#steps.push(chunk);
  }

  /** Null without a single frame. */
  sound(): { durationMs: number | null; sampleRate: number | null } {
    // The last frame's head may be shorter than the longest.
    if (this.#state === 'frames') this.push(Buffer.alloc(FRAME_HEAD_BYTES));
    if (this.#samples === 0 || this.#rate === 0) return { durationMs: null, sampleRate: this.#rate || null };
    return { durationMs: Math.ceil((this.#samples / this.#rate) * 1000), sampleRate: this.#rate };
  }

  /** How many bytes lie behind; 0: more are needed. */
  #read(bytes: Buffer, at: number): number {
    switch (this.#state) {
      case 'begin':
        return this.#begin(bytes, at);
      case 'blocks':
        return this.#block(bytes, at);
      case 'frames':
        return this.#frame(bytes, at);
      case 'broken':
        return bytes.length - at;
    }
  }

  #begin(bytes: Buffer, at: number): number {
    if (bytes.length < at + INFO_BYTES) return 0;
    this.#rate = bytes.readUIntBE(at + 18, 3) >> 4;
    const isInfo =
      bytes.toString('latin1', at, at + 4) === 'fLaC' && ((bytes[at + 4] as number) & 0x7f) === 0;
    this.#state = isInfo ? 'blocks' : 'broken';
    return 4;
  }

  #block(bytes: Buffer, at: number): number {
    if (bytes.length < at + 4) return 0;
    if (((bytes[at] as number) & 0x80) !== 0) this.#state = 'frames';
    return 4 + bytes.readUIntBE(at + 1, 3);
  }

  /** A frame does not say how long it is: the next one's head is looked for, byte by byte. */
  #frame(bytes: Buffer, at: number): number {
    if (bytes.length < at + FRAME_HEAD_BYTES) return 0;
    if (bytes[at] !== 0xff) {
      const next = bytes.indexOf(0xff, at);
      return (next < 0 ? bytes.length : next) - at;
    }
    const frame = frameAt(bytes, at);
    this.#samples += frame?.samples ?? 0;
    return frame?.headBytes ?? 1;
  }
}

function frameAt(bytes: Buffer, at: number): { samples: number; headBytes: number } | null {
  const [second, third, fourth] = [bytes[at + 1], bytes[at + 2], bytes[at + 3]] as [number, number, number];
  if ((second & 0xfe) !== 0xf8 || third >> 4 === 0 || (third & 15) === 15 || (fourth & 1) !== 0) return null;
  const [size, rate] = [third >> 4, third & 15];
  const ones = Math.clz32(~((bytes[at + 4] as number) << 24));
  const numberBytes = ones === 0 ? 1 : ones;
  if (ones === 1 || ones > 7) return null;
  let to = at + 4 + numberBytes;
  let samples = size === 1 ? 192 : size < 6 ? 576 << (size - 2) : 256 << (size - 8);
  if (size === 6) samples = (bytes[to++] as number) + 1;
  if (size === 7) {
    samples = bytes.readUInt16BE(to) + 1;
    to += 2;
  }
  to += rate === 12 ? 1 : rate === 13 || rate === 14 ? 2 : 0;
  return check(bytes, at, to) === bytes[to] ? { samples, headBytes: to + 1 - at } : null;
}

/** The sum that ends a frame's head. */
function check(bytes: Buffer, from: number, to: number): number {
  let sum = 0;
  for (let at = from; at < to; at++) {
    sum ^= bytes[at] as number;
    for (let bit = 0; bit < 8; bit++) sum = (sum & 0x80) !== 0 ? ((sum << 1) ^ 0x07) & 0xff : sum << 1;
  }
  return sum;
}
