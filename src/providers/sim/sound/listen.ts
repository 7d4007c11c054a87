// From sound to text. Nothing is known of where in the samples the speech begins.
import { bodyBytes, type Head, HEAD_BYTES, openBody, openHead } from './envelope.ts';
import { energyOf, loudest } from './spectrum.ts';
import { BANDS, BYTES_PER_FRAME, FRAME, PREAMBLE, toneOf } from './tones.ts';
import { SAMPLE_RATE } from '../../../domain/wav.ts';

/** Samples between two looks for the preamble: an eighth of a frame, near enough to see every tone. */
const HOP = 32;
const HOPS_PER_FRAME = FRAME / HOP;
/** Tones of the preamble's 72 that must be right. Noise gets 4 or 5; half of the preamble may be cut off. */
const ENOUGH = 34;

export interface Utterance {
  text: string;
  startMs: number;
  endMs: number;
}

/** Every text spoken in `samples` (mono, SAMPLE_RATE), in order. Empty when there is none that is certain to the letter. */
export function listen(samples: Int16Array): Utterance[] {
  const found: Utterance[] = [];
  const seen = new Looks(samples);
  for (let hop = -HOPS_PER_FRAME * PREAMBLE.length; hop < seen.length;) {
    const start = nextPreamble(seen, hop);
    if (start === null) break;
    const heard = utteranceAt(samples, aligned(samples, start * HOP));
    if (heard) found.push(heard.utterance);
    hop = heard ? Math.ceil(heard.end / HOP) : start + HOPS_PER_FRAME;
  }
  return found;
}

/** What each hop shows, transformed when first asked for: speech that comes early is found without reading on. */
class Looks {
  readonly length: number;
  readonly #samples: Int16Array;
  readonly #bits: Int32Array;

  constructor(samples: Int16Array) {
    this.#samples = samples;
    this.length = Math.ceil(samples.length / HOP);
    this.#bits = new Int32Array(this.length).fill(-1);
  }

  at(hop: number): number {
    if (hop < 0 || hop >= this.length) return -1;
    if (this.#bits[hop] === -1) this.#bits[hop] = loudest(this.#samples, hop * HOP);
    return this.#bits[hop]!;
  }
}

/** The hop at which a preamble begins, from `from` on: the middle of the best matches within a frame. Null: none. */
function nextPreamble(seen: Looks, from: number): number | null {
  for (let hop = from; hop < seen.length; hop++) {
    if (matches(seen, hop) < ENOUGH) continue;
    let best = 0;
    let at: number[] = [];
    for (let i = hop; i < hop + HOPS_PER_FRAME; i++) {
      const score = matches(seen, i);
      if (score > best) at = [];
      if (score >= best) at.push(i);
      best = Math.max(best, score);
    }
    return at[at.length >> 1]!;
  }
  return null;
}

function matches(seen: Looks, hop: number): number {
  let count = 0;
  for (let frame = 0; frame < PREAMBLE.length; frame++) {
    const bits = seen.at(hop + frame * HOPS_PER_FRAME);
    if (bits === -1) continue;
    const wrong = bits ^ PREAMBLE[frame]!;
    for (let band = 0; band < BANDS; band++) if (toneOf(wrong, band) === 0) count++;
  }
  return count;
}

/** The sample at which the preamble's tones are loudest, near `start`. */
function aligned(samples: Int16Array, start: number): number {
  let best = start;
  for (const [reach, step] of [
    [4 * HOP, 8],
    [8, 2],
  ] as const) {
    const middle = best;
    let most = -1;
    for (let at = middle - reach; at <= middle + reach; at += step) {
      let sum = 0;
      for (let i = 0; i < PREAMBLE.length; i++) sum += energyOf(samples, at + i * FRAME, PREAMBLE[i]!);
      if (sum > most) [most, best] = [sum, at];
    }
  }
  return best;
}

function utteranceAt(samples: Int16Array, start: number): { utterance: Utterance; end: number } | null {
  const headAt = start + PREAMBLE.length * FRAME;
  const head = openHead(bytesAt(samples, headAt, { count: HEAD_BYTES, hold: 1 }));
  if (!head) return null;
  const bodyAt = headAt + framesOf(HEAD_BYTES) * FRAME;
  const end = bodyAt + framesOf(bodyBytes(head.textBytes)) * head.hold * FRAME;
  const text = bodyText(samples, bodyAt, head);
  if (text === null) return null;
  return { utterance: { text, startMs: ms(start), endMs: Math.min(ms(end), ms(samples.length)) }, end };
}

function bodyText(samples: Int16Array, bodyAt: number, head: Head): string | null {
  const count = bodyBytes(head.textBytes);
  // A length that the audio cannot hold is either noise or a text cut off beyond what can be mended.
  const missing = bodyAt + framesOf(count) * head.hold * FRAME - samples.length;
  if (missing > SAMPLE_RATE) return null;
  return openBody(bytesAt(samples, bodyAt, { count, hold: head.hold }), head);
}

const framesOf = (bytes: number): number => Math.ceil(bytes / BYTES_PER_FRAME);
const ms = (sample: number): number => Math.max(0, Math.floor((sample * 1000) / SAMPLE_RATE));

function bytesAt(
  samples: Int16Array,
  start: number,
  { count, hold }: { count: number; hold: number },
): Uint8Array {
  const bytes = new Uint8Array(framesOf(count) * BYTES_PER_FRAME);
  for (let frame = 0; frame < framesOf(count); frame++) {
    const bits = loudest(samples, start + frame * hold * FRAME, hold);
    bytes[3 * frame] = bits >>> 16;
    bytes[3 * frame + 1] = bits >>> 8;
    bytes[3 * frame + 2] = bits;
  }
  return bytes.subarray(0, count);
}
