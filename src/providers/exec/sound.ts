// From a client's WAV file to what engines hear: 16 kHz, mono, 16 bits.
import { setImmediate as turn } from 'node:timers/promises';
import { SAMPLE_RATE, wavFile, type WavInfo, wavInfo } from '../../domain/wav.ts';

export interface Sound {
  /** A WAV file at 16 kHz, mono. */
  file: Buffer;
  /** Length of what is heard, in ms, rounded down so that it never exceeds what admission measured. */
  durationMs: number;
}

/** Samples worked on before others may have the thread, a few ms. */
const STRIDE = 16_384;
/** Zero crossings of the low-pass on each side of a sample. */
const LOBES = 12;

/**
 * @param mostMs what lies beyond is not heard
 * @returns null: no WAV file of 8, 16, 24 or 32 bits a sample (or 32-bit floats), or one without a sample
 */
export async function engineSound(bytes: Buffer, mostMs: number): Promise<Sound | null> {
  const info = wavInfo(bytes);
  const read = info && readerOf(info);
  if (!info || !read || info.channels < 1 || info.channels > 8) return null;
  if (info.sampleRate < 4_000 || info.sampleRate > 384_000) return null;
  const frameBytes = (info.bitsPerSample / 8) * info.channels;
  const most = Math.ceil((mostMs / 1000) * info.sampleRate);
  const frames = Math.min(Math.floor((info.end - info.start) / frameBytes), most);
  if (frames === 0) return null;
  const mono = await mixed(bytes, { ...info, frames, read });
  const samples = info.sampleRate === SAMPLE_RATE ? mono : await resampled(mono, info.sampleRate);
  const durationMs = Math.floor((frames * 1000) / info.sampleRate);
  return { file: wavFile(await rounded(samples)), durationMs };
}

type Reader = (bytes: Buffer, at: number) => number;

/** Samples as numbers from -1 to 1. */
function readerOf({ format, bitsPerSample }: WavInfo): Reader | null {
  if (format === 3 && bitsPerSample === 32) {
    return (bytes, at) => {
      const value = bytes.readFloatLE(at);
      return Number.isFinite(value) ? value : 0;
    };
  }
  if (format !== 1) return null;
  switch (bitsPerSample) {
    case 8:
      return (bytes, at) => (bytes[at]! - 128) / 128;
    case 16:
      return (bytes, at) => bytes.readInt16LE(at) / 32_768;
    case 24:
      return (bytes, at) => bytes.readIntLE(at, 3) / 8_388_608;
    case 32:
      return (bytes, at) => bytes.readInt32LE(at) / 2_147_483_648;
    default:
      return null;
  }
}

async function mixed(
  bytes: Buffer,
  { start, channels, bitsPerSample, frames, read }: WavInfo & { frames: number; read: Reader },
): Promise<Float32Array> {
  const step = bitsPerSample / 8;
  return strides(new Float32Array(frames), (i) => {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += read(bytes, start + (i * channels + c) * step);
    return sum / channels;
  });
}

/** A windowed sinc, cut off below the lower of the two rates' halves: what lies above would come back as false tones. */
async function resampled(samples: Float32Array, rate: number): Promise<Float32Array> {
  const ratio = rate / SAMPLE_RATE;
  const { taps, phases, reach, table } = filterFor(rate);
  return strides(new Float32Array(Math.max(1, Math.floor(samples.length / ratio))), (i) => {
    const step = Math.round(i * ratio * phases);
    const phase = step % phases;
    const first = (step - phase) / phases - reach + 1;
    let sum = 0;
    for (let k = Math.max(0, -first); k < taps && first + k < samples.length; k++)
      sum += samples[first + k]! * table[phase * taps + k]!;
    return sum;
  });
}

/** Where between two samples a new one may lie: everywhere it does for common rates, else the nearest of so many places. */
const MOST_PHASES = 512;

function filterFor(rate: number): { taps: number; phases: number; reach: number; table: Float32Array } {
  const cutoff = Math.min(1, SAMPLE_RATE / rate) * 0.95;
  const reach = Math.ceil(LOBES / cutoff);
  const taps = 2 * reach;
  const phases = Math.min(MOST_PHASES, SAMPLE_RATE / commonDivisor(rate, SAMPLE_RATE));
  const table = Float32Array.from({ length: phases * taps }, (_, i) => {
    const [phase, k] = [Math.floor(i / taps), i % taps];
    return lowPass(phase / phases + reach - 1 - k, cutoff, reach);
  });
  return { taps, phases, reach, table };
}

const commonDivisor = (a: number, b: number): number => (b === 0 ? a : commonDivisor(b, a % b));

function lowPass(x: number, cutoff: number, reach: number): number {
  if (x === 0) return cutoff;
  const window = 0.5 + 0.5 * Math.cos((Math.PI * x) / reach);
  return (Math.sin(Math.PI * cutoff * x) / (Math.PI * x)) * window;
}

async function rounded(samples: Float32Array): Promise<Int16Array> {
  return strides(new Int16Array(samples.length), (i) =>
    Math.max(-32_768, Math.min(32_767, Math.round(samples[i]! * 32_768))),
  );
}

/** Fills an array a stride at a time: ten minutes of sound must not hold up everything else in this process. */
async function strides<A extends Float32Array | Int16Array>(
  into: A,
  valueAt: (i: number) => number,
): Promise<A> {
  for (let from = 0; from < into.length; from += STRIDE) {
    if (from > 0) await turn();
    const to = Math.min(from + STRIDE, into.length);
    for (let i = from; i < to; i++) into[i] = valueAt(i);
  }
  return into;
}
