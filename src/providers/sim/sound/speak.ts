// From text to sound: silence, preamble, head, body, silence.
import { sealBody, sealHead } from './envelope.ts';
import { BANDS, binOf, BYTES_PER_FRAME, FRAME, PREAMBLE, toneOf } from './tones.ts';

/** Samples of silence before and after: 80 ms. */
const PAUSE = 1_280;
/** Samples over which a symbol swells and fades: without, every change of tone would click. */
const EDGE = 12;
/** All six bands together stay below this share of full scale. */
const LOUDNESS = 0.8;

export interface Manner {
  /** Colours the sound: how loud each band is and where its waves begin. */
  voice: string;
  /** 1 is as fast as it gets (about 180 bytes a second); below 0.75 every symbol is held twice, below 0.4 four times. */
  speed: number;
}

/** 16-bit mono samples at SAMPLE_RATE whose sound holds `text`, which must not be empty. */
export function speak(text: string, { voice, speed }: Manner): Int16Array {
  const bytes = Buffer.from(text, 'utf8');
  const hold = speed < 0.4 ? 4 : speed < 0.75 ? 2 : 1;
  const head = [...PREAMBLE, ...symbols(sealHead(bytes, hold))];
  const body = symbols(sealBody(bytes));
  const samples = new Int16Array(2 * PAUSE + (head.length + body.length * hold) * FRAME);
  const voices = waves(voice);
  let at = PAUSE;
  for (const bits of head) at = sound(samples, { at, bits, frames: 1, voices });
  for (const bits of body) at = sound(samples, { at, bits, frames: hold, voices });
  return samples;
}

/** Three bytes to a symbol of 24 bits; the last is filled up with zeros. */
function symbols(bytes: Uint8Array): number[] {
  const result: number[] = [];
  for (let i = 0; i < bytes.length; i += BYTES_PER_FRAME) {
    result.push((bytes[i]! << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0));
  }
  return result;
}

interface Symbol {
  at: number;
  bits: number;
  frames: number;
  voices: Float64Array[][];
}

/** Adds one symbol and returns where the next begins. */
function sound(samples: Int16Array, { at, bits, frames, voices }: Symbol): number {
  const tones = voices.map((tones, band) => tones[toneOf(bits, band)]!);
  const length = frames * FRAME;
  for (let i = 0; i < length; i++) {
    let sum = 0;
    for (let band = 0; band < BANDS; band++) sum += tones[band]![i % FRAME]!;
    const toEdge = Math.min(i, length - 1 - i);
    samples[at + i] = toEdge < EDGE ? (sum * (toEdge + 0.5)) / EDGE : sum;
  }
  return at + length;
}

/** A frame's worth of each tone of each band. */
function waves(voice: string): Float64Array[][] {
  const known = wavesByVoice.get(voice);
  if (known) return known;
  let seed = 0x811c9dc5;
  for (const char of voice) seed = Math.imul(seed ^ char.codePointAt(0)!, 0x01000193);
  const shares = Array.from({ length: BANDS }, (_, band) => 0.6 + 0.4 * fraction(seed, band));
  const whole = shares.reduce((sum, share) => sum + share, 0);
  const made = shares.map((share, band) =>
    Array.from({ length: 16 }, (_, tone) => {
      const step = (2 * Math.PI * binOf(band, tone)) / FRAME;
      const phase = 2 * Math.PI * fraction(seed, 16 * (band + 1) + tone);
      const height = (32_767 * LOUDNESS * share) / whole;
      return Float64Array.from({ length: FRAME }, (_, i) => height * Math.sin(step * i + phase));
    }),
  );
  if (wavesByVoice.size >= MOST_VOICES) wavesByVoice.clear();
  wavesByVoice.set(voice, made);
  return made;
}

const MOST_VOICES = 16;
const wavesByVoice = new Map<string, Float64Array[][]>();

/** A number in 0..1 that looks random and depends on both arguments alone. */
function fraction(seed: number, index: number): number {
  let mixed = Math.imul(seed ^ Math.imul(index + 1, 0x9e3779b1), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32;
}
