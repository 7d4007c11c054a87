import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { UsageLine } from '../../src/domain/job.ts';
import { MAX_CREDITS, parsePrice, type PriceLine, priceOf } from '../../src/domain/pricing.ts';

const NAMES = ['token', 'image', 'character', 'millisecond'] as const;
const MEASURES = ['input', 'output'] as const;
const UNITS = NAMES.flatMap((name) => MEASURES.map((measure) => ({ name, measure })));

const rates = fc.array(
  fc.oneof(fc.bigInt({ min: 0n, max: 3_000_000n }), fc.bigInt({ min: 0n, max: 10n ** 15n })),
  {
    minLength: UNITS.length,
    maxLength: UNITS.length,
  },
);
const price = rates.map((rates): PriceLine[] =>
  UNITS.map((unit, i) => ({ ...unit, creditsPerMillion: rates[i] ?? 0n })),
);
const quantity = fc.oneof(fc.nat({ max: 5 }), fc.nat(), fc.maxSafeNat());
const usage: fc.Arbitrary<UsageLine[]> = fc.array(
  fc
    .tuple(fc.constantFrom(...UNITS), quantity)
    .map(([unit, quantity]) => ({ name: unit.name, measure: unit.measure, quantity })),
  { maxLength: 8 },
);

describe('the price of usage', () => {
  it('is the exact sum, rounded up once', () => {
    fc.assert(
      fc.property(price, usage, (price, usage) => {
        const millionths = usage.reduce((sum, { name, measure, quantity }) => {
          const rate = price.find((line) => line.name === name && line.measure === measure);
          return sum + BigInt(quantity) * (rate?.creditsPerMillion ?? 0n);
        }, 0n);
        const credits = priceOf(price, usage);
        if (millionths > MAX_CREDITS * 1_000_000n) {
          expect(credits).toBe(MAX_CREDITS);
          return;
        }
        // The least whole number that is not below it.
        expect(credits * 1_000_000n >= millionths).toBe(true);
        expect((credits - 1n) * 1_000_000n < millionths).toBe(true);
      }),
    );
  });

  it('never falls when more is used', () => {
    fc.assert(
      fc.property(price, usage, fc.nat(), quantity, (price, usage, at, more) => {
        const line = usage[at % Math.max(usage.length, 1)];
        const grown = line ? [...usage, { ...line, quantity: more }] : usage;
        expect(priceOf(price, grown) >= priceOf(price, usage)).toBe(true);
      }),
    );
  });

  it('costs no more together than apart, and at most a credit a part less', () => {
    fc.assert(
      fc.property(price, usage, (price, usage) => {
        const apart = usage.reduce((sum, line) => sum + priceOf(price, [line]), 0n);
        const together = priceOf(price, usage);
        expect(together <= apart).toBe(true);
        if (together === MAX_CREDITS) return;
        expect(apart - together <= BigInt(Math.max(usage.length - 1, 0))).toBe(true);
      }),
    );
  });

  it('does not depend on the order of its lines', () => {
    fc.assert(
      fc.property(price, usage, (price, usage) => {
        expect(priceOf(price.toReversed(), usage.toReversed())).toBe(priceOf(price, usage));
      }),
    );
  });

  it('reads rates as the exact numbers they are, beyond what a float can hold', () => {
    const [line] = parsePrice([
      { name: 'token', measure: 'input', credits_per_million: '900719925474099301' },
    ]);
    expect(priceOf([line!], [{ name: 'token', measure: 'input', quantity: 1_000 }])).toBe(900719925474100n);
  });

  it('stays a number that rows and JSON can hold, whatever a vendor reports', () => {
    const [line] = parsePrice([
      { name: 'token', measure: 'input', credits_per_million: '999999999999999999' },
    ]);
    const absurd = { name: 'token', measure: 'input', quantity: Number.MAX_SAFE_INTEGER } as const;
    expect(priceOf([line!], [absurd, absurd])).toBe(9007199254740991n);
  });
});
