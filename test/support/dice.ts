// Chance that can be had again: the same seed, the same throws.

export interface Dice {
  /** True with this probability. */
  rolls(probability: number): boolean;
  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number;
}

export function rollDice(seed: number): Dice {
  let state = seed >>> 0;
  // A 32-bit counter through a mixing function (splitmix): plain, and good enough for misdeeds.
  const next = (): number => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32;
  };
  return {
    rolls: (probability) => next() < probability,
    below: (limit) => Math.floor(next() * limit),
  };
}
