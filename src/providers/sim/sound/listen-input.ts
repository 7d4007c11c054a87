// From whatever bytes a client calls audio to samples at SAMPLE_RATE, mono.
import { SAMPLE_RATE, type WavInfo, wavInfo } from '../../../domain/wav.ts';

export interface Heard {
  samples: Int16Array;
  /** Length of the audio in ms, rounded down so that it never exceeds what admission measured. */
  durationMs: number;
}

/**
 * A WAV file of 8, 16, 24 or 32 bits a sample, any number of channels and any rate; or raw 16-bit little-endian mono PCM
 * at SAMPLE_RATE. `shift` leaves out so many first bytes of raw PCM: a header cut off at an odd byte moves every sample.
 * Null for a WAV file in a format other than these.
 */
export function samplesOf(bytes: Buffer, shift: 0 | 1): Heard | null {
  const info = wavInfo(bytes);
  if (!info) return heard(rawSamples(bytes.subarray(shift)), SAMPLE_RATE);
  if (info.channels < 1 || info.sampleRate < 1_000) return null;
  const pcm16 = info.format === 1 && info.bitsPerSample === 16;
  if (pcm16 && info.channels === 1)
    return heard(rawSamples(bytes.subarray(info.start + shift, info.end)), info.sampleRate);
  const read = readerOf(info);
  return read && heard(mixed(bytes, info, read), info.sampleRate);
}

function rawSamples(bytes: Buffer): Int16Array {
  const samples = new Int16Array(bytes.length >> 1);
  for (let i = 0; i < samples.length; i++) samples[i] = bytes[2 * i]! | (bytes[2 * i + 1]! << 8);
  return samples;
}

type Reader = (bytes: Buffer, at: number) => number;

function readerOf({ format, bitsPerSample }: WavInfo): Reader | null {
  if (format === 3 && bitsPerSample === 32) return (bytes, at) => bytes.readFloatLE(at) * 32_767;
  if (format !== 1) return null;
  switch (bitsPerSample) {
    case 8:
      return (bytes, at) => (bytes[at]! - 128) * 256;
    case 16:
      return (bytes, at) => bytes.readInt16LE(at);
    case 24:
      return (bytes, at) => bytes.readIntLE(at, 3) / 256;
    case 32:
      return (bytes, at) => bytes.readInt32LE(at) / 65_536;
    default:
      return null;
  }
}

function mixed(bytes: Buffer, { start, end, channels, bitsPerSample }: WavInfo, read: Reader): Int16Array {
  const step = bitsPerSample / 8;
  const samples = new Int16Array(Math.floor((end - start) / (step * channels)));
  for (let i = 0; i < samples.length; i++) {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += read(bytes, start + (i * channels + c) * step);
    samples[i] = clamped(sum / channels);
  }
  return samples;
}

function heard(samples: Int16Array, rate: number): Heard {
  const durationMs = Math.floor((samples.length * 1000) / rate);
  return { samples: rate === SAMPLE_RATE ? samples : resampled(samples, rate), durationMs };
}

function resampled(samples: Int16Array, rate: number): Int16Array {
  const result = new Int16Array(Math.floor((samples.length * SAMPLE_RATE) / rate));
  for (let i = 0; i < result.length; i++) {
    const at = (i * rate) / SAMPLE_RATE;
    const left = Math.floor(at);
    const a = samples[left]!;
    const b = samples[left + 1] ?? a;
    result[i] = clamped(a + (b - a) * (at - left));
  }
  return result;
}

const clamped = (value: number): number => Math.max(-32_768, Math.min(32_767, Math.round(value)));
