// The alphabet of the simulator's voice. Time is cut in frames of 16 ms; in each, six tones sound at once, one out of
// sixteen in each of six bands between 500 and 6,440 Hz: 24 bits, three bytes a frame. Every tone has whole cycles in a
// frame, so one Fourier transform of a frame tells them apart, whatever the loudness.

/** Samples a frame. */
export const FRAME = 256;
export const BANDS = 6;
export const BYTES_PER_FRAME = 3;
const TONES_PER_BAND = 16;
const LOWEST_BIN = 8;

/** The Fourier bin of a tone; a bin is 62.5 Hz wide. */
export const binOf = (band: number, tone: number): number => LOWEST_BIN + band * TONES_PER_BAND + tone;

/** Which tone a frame's 24 bits name in a band. */
export const toneOf = (bits: number, band: number): number => (bits >>> (band * 4)) & 15;

/**
 * What is sounded first, so that a listener finds the start: 24 bits a frame. Any fixed pattern without repetition will
 * do; this one comes from a small generator. Both sides must have the same.
 */
export const PREAMBLE: readonly number[] = Array.from({ length: 12 }, (_, i) => {
  const mixed = Math.imul(i + 1, 0x9e3779b1);
  return Math.imul(mixed ^ (mixed >>> 15), 0x85ebca6b) >>> 8;
});
