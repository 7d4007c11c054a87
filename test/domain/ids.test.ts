import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { idFloor, isId, newId } from '../../src/domain/ids.ts';

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const instant = fc.date({ min: new Date(0), max: new Date(2 ** 48 - 1), noInvalidDate: true });

/** The 128 bits of an id, read back by arithmetic alone. */
function bitsOf(id: string): bigint {
  let bits = 0n;
  for (const letter of id.slice(id.indexOf('_') + 1)) bits = bits * 32n + BigInt(ALPHABET.indexOf(letter));
  return bits;
}

describe('ids', () => {
  it('are a prefix and the 26 letters of a UUIDv7, made now', () => {
    for (let i = 0; i < 2_000; i++) {
      const before = Date.now();
      const id = newId('job');
      const after = Date.now();
      expect(id).toMatch(/^job_[0-7][0-9a-hjkmnp-tv-z]{25}$/);
      expect(isId('job', id)).toBe(true);
      const bits = bitsOf(id);
      expect(Number(bits >> 80n)).toBeGreaterThanOrEqual(before);
      expect(Number(bits >> 80n)).toBeLessThanOrEqual(after);
      expect([(bits >> 76n) & 15n, (bits >> 62n) & 3n]).toEqual([7n, 2n]);
    }
  });

  it('sort by the time they were made, and never repeat', () => {
    const ids = Array.from({ length: 20_000 }, () => newId('ev'));
    expect(new Set(ids).size).toBe(ids.length);
    const times = ids.toSorted().map((id) => bitsOf(id) >> 80n);
    expect(times).toEqual(times.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
  });

  it('have a floor: the least id of an instant', () => {
    fc.assert(
      fc.property(instant, (at) => {
        const floor = idFloor('job', at);
        expect(isId('job', floor)).toBe(true);
        expect(bitsOf(floor)).toBe(BigInt(at.getTime()) << 80n);
      }),
    );
  });

  it('lie between the floor of their millisecond and that of the next', () => {
    const before = new Date();
    const id = newId('job');
    const after = new Date(Date.now() + 1);
    expect(idFloor('job', before) <= id).toBe(true);
    expect(id < idFloor('job', after)).toBe(true);
  });

  it('have floors that sort as their instants do', () => {
    fc.assert(
      fc.property(instant, instant, (a, b) => {
        expect(idFloor('tx', a) < idFloor('tx', b)).toBe(a < b);
      }),
    );
  });

  it('are told from nonsense: another prefix, another length, letters outside the alphabet', () => {
    const id = newId('job');
    for (const wrong of [id.replace('job', 'acc'), id.slice(0, -1), `${id}0`, `${id.slice(0, -1)}u`, ''])
      expect(isId('job', wrong)).toBe(false);
    expect(isId('job', id.toUpperCase())).toBe(false);
  });
});
