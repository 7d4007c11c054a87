/** How long a WAV file sounds, in whole milliseconds rounded up, from its header and its true length; null: not a plain WAV. */
export function wavDurationMs(bytes: Buffer): number | null {
  const wave = wavFormat(bytes);
  return wave && Math.ceil((wave.dataBytes / wave.bytesPerSecond) * 1000);
}

/** @returns null unless the bytes begin with a RIFF header, a PCM format of believable rate, and a data chunk */
export function wavFormat(
  bytes: Buffer,
): { sampleRate: number; bytesPerSecond: number; dataBytes: number } | null {
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
        bits === 0
      )
        return null;
      format = { sampleRate, bytesPerSecond: (sampleRate * channels * bits) / 8 };
    }
    // The length that counts is what is there, whatever the header claims.
    if (name === 'data') return format && { ...format, dataBytes: bytes.length - at - 8 };
    at += 8 + size + (size % 2);
  }
  return null;
}
