// A fast Fourier transform of one frame, and the tones that it shows.
import { BANDS, binOf, FRAME, toneOf } from './tones.ts';

const COS = Float64Array.from({ length: FRAME / 2 }, (_, i) => Math.cos((2 * Math.PI * i) / FRAME));
const SIN = Float64Array.from({ length: FRAME / 2 }, (_, i) => Math.sin((2 * Math.PI * i) / FRAME));
const REVERSED = Uint16Array.from({ length: FRAME }, (_, i) => {
  let result = 0;
  for (let bit = 1; bit < FRAME; bit <<= 1) result = (result << 1) | (i & bit ? 1 : 0);
  return result;
});

/** The energies of the frame last measured, by bin. One for all: nothing here is concurrent. */
const energy = new Float64Array(FRAME / 2);
const re = new Float64Array(FRAME);
const im = new Float64Array(FRAME);

/** Fills `energy` from the frame that begins at sample `start`; beyond the ends of the audio lies silence. */
function measure(samples: Int16Array, start: number): void {
  const whole = start >= 0 && start + FRAME <= samples.length;
  for (let i = 0; i < FRAME; i++) {
    const at = start + REVERSED[i]!;
    re[i] = whole ? samples[at]! : (samples[at] ?? 0);
    im[i] = 0;
  }
  for (let size = 2; size <= FRAME; size <<= 1) {
    const half = size >> 1;
    const stride = FRAME / size;
    for (let base = 0; base < FRAME; base += size) {
      for (let k = 0; k < half; k++) {
        const c = COS[k * stride]!;
        const s = SIN[k * stride]!;
        const low = base + k;
        const high = low + half;
        const x = re[high]! * c + im[high]! * s;
        const y = im[high]! * c - re[high]! * s;
        re[high] = re[low]! - x;
        im[high] = im[low]! - y;
        re[low]! += x;
        im[low]! += y;
      }
    }
  }
  for (let bin = 0; bin < energy.length; bin++) energy[bin] = re[bin]! * re[bin]! + im[bin]! * im[bin]!;
}

/** The loudest tone of each band as 24 bits, over `frames` frames in a row from sample `start`. */
export function loudest(samples: Int16Array, start: number, frames = 1): number {
  measure(samples, start);
  let sums: Float64Array = energy;
  if (frames > 1) {
    sums = energy.slice();
    for (let i = 1; i < frames; i++) {
      measure(samples, start + i * FRAME);
      for (let bin = 0; bin < sums.length; bin++) sums[bin]! += energy[bin]!;
    }
  }
  let bits = 0;
  for (let band = 0; band < BANDS; band++) {
    let best = 0;
    for (let tone = 1; tone < 16; tone++) {
      if (sums[binOf(band, tone)]! > sums[binOf(band, best)]!) best = tone;
    }
    bits |= best << (band * 4);
  }
  return bits;
}

/** How much energy the frame at `start` has in the tones that `bits` names. */
export function energyOf(samples: Int16Array, start: number, bits: number): number {
  measure(samples, start);
  let sum = 0;
  for (let band = 0; band < BANDS; band++) sum += energy[binOf(band, toneOf(bits, band))]!;
  return sum;
}
