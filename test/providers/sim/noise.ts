// Samples made worse, as air and software make them worse.
import { randomFrom } from '../../../src/providers/sim/draw/random.ts';

/** White noise of a given distance to the signal's own power, in decibels. */
export function noisy(samples: Int16Array, { snr, seed }: { snr: number; seed: number }): Int16Array {
  const chance = randomFrom(seed);
  const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
  const deviation = Math.sqrt(power / 10 ** (snr / 10));
  return samples.map((sample) => {
    const gauss = Math.sqrt(-2 * Math.log(1 - chance())) * Math.cos(2 * Math.PI * chance());
    return Math.max(-32_768, Math.min(32_767, Math.round(sample + gauss * deviation)));
  });
}

export function joined(...parts: Int16Array[]): Int16Array {
  const result = new Int16Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}
