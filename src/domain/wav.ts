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
const EXTENSIBLE = 0xfffe;

function codecOf(bytes: Buffer, format: number): number {
  const codec = bytes.readUInt16LE(format + 8);
  // The real one then stands at the beginning of a longer name.
  return codec === EXTENSIBLE && format + 34 <= bytes.length ? bytes.readUInt16LE(format + 32) : codec;
}

/** @returns null unless the bytes begin with a RIFF header, a PCM format of believable rate, and a data chunk */
export function wavFormat(bytes: Buffer): WavFormat | null {
  if (
    bytes.length < 44 ||
    bytes.toString('latin1', 0, 4) !== 'RIFF' ||
    bytes.toString('latin1', 8, 12) !== 'WAVE'
  )
    return null;
  let format: { sampleRate: number; bytesPerSecond: number } | null = null;
  for (let at = 12; at + 8 <= bytes.length;) {
    const name = bytes.toString('latin1', at, at + 4);
    const size = bytes.readUInt32LE(at + 4);
    if (name === 'fmt ' && at + 24 <= bytes.length) {
      const [channels, sampleRate, bits] = [
        bytes.readUInt16LE(at + 10),
        bytes.readUInt32LE(at + 12),
        bytes.readUInt16LE(at + 22),
      ];
      if (
        sampleRate < 4_000 ||
        sampleRate > 384_000 ||
        channels < 1 ||
        channels > 8 ||
        bits % 8 !== 0 ||
        bits === 0 ||
        !PLAIN.has(codecOf(bytes, at))
      )
        return null;
      format = { sampleRate, bytesPerSecond: (sampleRate * channels * bits) / 8 };
    }
    if (name === 'data') {
      const dataBytes = bytes.length - at - 8;
      // A vendor that streams knows no length yet and writes none, or the greatest there is.
      const told = size > 0 && size < 0x7fff_0000;
      return format && { ...format, dataBytes, cutOff: told && size > dataBytes };
    }
    at += 8 + size + (size % 2);
  }
  return null;
}
