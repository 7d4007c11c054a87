import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkJson } from '../../src/domain/json-gate.ts';
import { body, jsonText, mayPass, placed } from '../support/json-texts.ts';

const RUNS = { numRuns: 3000 };
const WIDE = { maxDepth: 1000, maxKeys: 100_000, duplicateKeysToDepth: 0 };
const limits = fc.record({
  maxDepth: fc.integer({ min: 1, max: 8 }),
  maxKeys: fc.integer({ min: 0, max: 30 }),
  duplicateKeysToDepth: fc.integer({ min: 0, max: 5 }),
});
const shift = fc.integer({ min: 0, max: 3 });

const REASONS =
  /^(empty body|byte order mark|not UTF-8|unexpected end|unexpected character( [!-~])?|text after the JSON value|control character in a string|unknown escape|NUL is not allowed|lone surrogate|number too large|more than \d+ levels deep|more than \d+ keys|duplicate key|forbidden key|needless escape in a key)$/;

describe('checkJson against JSON.parse', () => {
  it('passes and refuses the same bodies, whatever their bytes and wherever they lie in memory', () => {
    const seen = { passed: 0, refused: 0 };
    const property = fc.property(body, shift, (bytes, shift) => {
      const fault = checkJson(placed(bytes, shift), WIDE);
      seen[fault === null ? 'passed' : 'refused']++;
      expect(fault === null, fault?.reason).toBe(mayPass(bytes, WIDE));
    });
    fc.assert(property, RUNS);
    // Or the mutations are so wild, or so tame, that one side of the comparison goes untested.
    expect(Math.min(seen.passed, seen.refused)).toBeGreaterThan(RUNS.numRuns / 10);
  });

  it('passes and refuses the same valid texts under limits', () => {
    const seen = { passed: 0, refused: 0 };
    const property = fc.property(jsonText, limits, shift, (text, limits, shift) => {
      const bytes = Buffer.from(text);
      const fault = checkJson(placed(bytes, shift), limits);
      seen[fault === null ? 'passed' : 'refused']++;
      expect(fault === null, fault?.reason).toBe(mayPass(bytes, limits));
    });
    fc.assert(property, RUNS);
    expect(Math.min(seen.passed, seen.refused)).toBeGreaterThan(RUNS.numRuns / 10);
  });

  it('points at the first byte that could not follow: what lies before it is only unfinished', () => {
    const property = fc.property(body, limits, (bytes, limits) => {
      const fault = checkJson(bytes, limits);
      if (fault === null) return;
      expect(fault.reason).toMatch(REASONS);
      const before = checkJson(bytes.subarray(0, fault.offset), limits);
      if (fault.reason === 'not UTF-8') expect(before?.reason).not.toBe('not UTF-8');
      else if (before !== null) expect(before.offset).toBe(fault.offset);
    });
    fc.assert(property, RUNS);
  });

  it('finds the first byte that is not UTF-8 where a decoder finds it', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 12 }),
      fc.array(fc.constantFrom(0x41, 0x80, 0xa0, 0xbf, 0xc1, 0xc2, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5), {
        maxLength: 8,
      }),
    );
    const property = fc.property(fc.string({ unit: 'grapheme', maxLength: 5 }), bytes, (text, bytes) => {
      const tail = Buffer.concat([Buffer.from(`"${text}`), Buffer.from(bytes)]);
      const fault = checkJson(tail, WIDE);
      if (fault?.reason !== 'not UTF-8') return;
      // Streaming, a decoder fails at the first byte that proves the fault; the sequence began at most three before.
      const decoder = new TextDecoder('utf-8', { fatal: true });
      const proven = tail.findIndex((_, at) =>
        fails(() => decoder.decode(tail.subarray(at, at + 1), { stream: true })),
      );
      const shown = proven === -1 ? tail.length : proven;
      expect(fault.offset).toBeLessThanOrEqual(shown);
      expect(fault.offset).toBeGreaterThanOrEqual(shown - 3);
      const whole = new TextDecoder('utf-8', { fatal: true });
      expect(fails(() => whole.decode(tail.subarray(0, fault.offset)))).toBe(false);
    });
    fc.assert(property, RUNS);
  });
});

function fails(act: () => unknown): boolean {
  try {
    act();
    return false;
  } catch {
    return true;
  }
}
