// WAV files: how they are written, and what is in one. Samples to be written are 16-bit PCM at SAMPLE_RATE, mono.

/** Samples a second of what the simulator speaks and hears, and of what engines are given to hear. */
export const SAMPLE_RATE = 16_000;

const HEADER_BYTES = 44;

export interface WavInfo {
  /** Samples a second. */
  sampleRate: number;
  channels: number;
  bitsPerSample: number;
  /** 1 = integers, 3 = floats. */
  format: number;
  /** The `data` chunk; `end` is never beyond the file. */
  start: number;
  end: number;
}

/** A mono 16-bit WAV file at SAMPLE_RATE. */
export function wavFile(samples: Int16Array): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write('RIFF', 0, 'latin1');
  header.writeUInt32LE(HEADER_BYTES - 8 + samples.byteLength, 4);
  header.write('WAVEfmt ', 8, 'latin1');
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(SAMPLE_RATE, 24);
  header.writeUInt32LE(SAMPLE_RATE * 2, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36, 'latin1');
  header.writeUInt32LE(samples.byteLength, 40);
  return Buffer.concat([header, pcmBytes(samples)]);
}

/** The samples as little-endian bytes, whatever this machine's own order is. */
export function pcmBytes(samples: Int16Array): Buffer {
  const bytes = Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength);
  return littleEndian ? bytes : Buffer.from(bytes).swap16();
}

const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/**
 * Where the sound of a WAV file lies and how it is written. Null if `bytes` are no WAV file. Chunks of other names are
 * stepped over; a size that streaming writers leave at 0 or 0xFFFFFFFF means: to the end of the file.
 */
export function wavInfo(bytes: Buffer): WavInfo | null {
  if (bytes.length < 12 || tag(bytes, 0) !== 'RIFF' || tag(bytes, 8) !== 'WAVE') return null;
  let format: Omit<WavInfo, 'start' | 'end'> | null = null;
  for (let at = 12; at + 8 <= bytes.length;) {
    const size = bytes.readUInt32LE(at + 4);
    const start = at + 8;
    if (tag(bytes, at) === 'fmt ' && start + 16 <= bytes.length) format = formatChunk(bytes, start, size);
    if (tag(bytes, at) === 'data') {
      const open = size === 0 || size === 0xffffffff;
      return format && { ...format, start, end: open ? bytes.length : Math.min(start + size, bytes.length) };
    }
    at = start + size + (size % 2);
  }
  return null;
}

function formatChunk(bytes: Buffer, start: number, size: number): Omit<WavInfo, 'start' | 'end'> {
  const named = bytes.readUInt16LE(start);
  // WAVE_FORMAT_EXTENSIBLE keeps the true format in the first bytes of a GUID.
  const extended = named === 0xfffe && size >= 40 && start + 26 <= bytes.length;
  return {
    format: extended ? bytes.readUInt16LE(start + 24) : named,
    channels: bytes.readUInt16LE(start + 2),
    sampleRate: bytes.readUInt32LE(start + 4),
    bitsPerSample: bytes.readUInt16LE(start + 14),
  };
}

const tag = (bytes: Buffer, at: number): string => bytes.toString('latin1', at, at + 4);

export interface WavFormat {
  sampleRate: number;
  bytesPerSecond: number;
  /** From where the samples begin to the end of what is there, whatever the header claims. */
  dataBytes: number;
  /** The header promises more than there is. */
  cutOff: boolean;
}

/** PCM, floats, A-law, mu-law: samples of a fixed size. Of any other, MP3 for one, the rate would be just a claim. */
const PLAIN = new Set([1, 3, 6, 7]);

/** @returns null unless the bytes begin with a RIFF header, a PCM format of believable rate, and a data chunk */
export function wavFormat(bytes: Buffer): WavFormat | null {
  const info = wavInfo(bytes);
  if (!info || !PLAIN.has(info.format)) return null;
  const { sampleRate, channels, bitsPerSample, start } = info;
  if (sampleRate < 4_000 || sampleRate > 384_000 || channels < 1 || channels > 8) return null;
  if (bitsPerSample === 0 || bitsPerSample % 8 !== 0) return null;
  const dataBytes = bytes.length - start;
  const size = bytes.readUInt32LE(start - 4);
  // A vendor that streams knows no length yet and writes none, or the greatest there is.
  const told = size > 0 && size < 0x7fff_0000;
  const bytesPerSecond = (sampleRate * channels * bitsPerSample) / 8;
  return { sampleRate, bytesPerSecond, dataBytes, cutOff: told && size > dataBytes };
}
