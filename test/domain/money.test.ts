import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CREDITS_PER_USD, money, usd } from '../../src/domain/money.ts';

const credits = fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n });

/** A decimal text as a whole number of ten-millionths. */
function tenMillionths(text: string): bigint {
  const [, sign, whole = '', fraction = ''] = /^(-?)(\d+)(?:\.(\d{1,7}))?$/.exec(text) ?? [];
  const value = BigInt(whole + fraction.padEnd(7, '0'));
  return sign === '-' ? -value : value;
}

describe('credits as dollars', () => {
  it('are exact, to the last of seven decimals', () => {
    fc.assert(
      fc.property(credits, (credits) => {
        expect(tenMillionths(usd(credits)) * CREDITS_PER_USD).toBe(credits * 10_000_000n);
      }),
      { numRuns: 1_000 },
    );
  });

  it('have one way to be written: no trailing zeros, no exponent, no bare point, no minus nothing', () => {
    fc.assert(
      fc.property(credits, (credits) => {
        expect(usd(credits)).toMatch(/^(0|-?[1-9]\d*|-?(0|[1-9]\d*)\.\d{0,6}[1-9])$/);
      }),
      { numRuns: 1_000 },
    );
  });

  it.each([
    [0n, '0'],
    [1n, '0.0000005'],
    [6_000n, '0.003'],
    [2_000_000n, '1'],
    [2_000_001n, '1.0000005'],
    [-500n, '-0.00025'],
    [200_000_000n, '100'],
    [9_007_199_254_740_991n, '4503599627.3704955'],
  ])('%s credits are %s USD', (credits, text) => expect(usd(credits)).toBe(text));

  it('carry both figures', () => expect(money(6_000n)).toEqual({ credits: 6000, usd: '0.003' }));
});
