import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkJson, type JsonFault } from '../../src/domain/json-gate.ts';
import { checkJsonList, type JsonList } from '../../src/domain/json-list.ts';

const LIMITS = { maxDepth: 16, maxKeys: 100 };
const read = (text: string | Buffer): JsonList | JsonFault =>
  checkJsonList(Buffer.from(text), 'jobs', LIMITS);
const listOf = (...items: string[]): string => `{"jobs":[${items.join(',')}],"rest":1}`;

describe('a list that is judged item by item', () => {
  it('is its own text where nothing is wrong', () => {
    const text = listOf('{"a":"\\ud83d\\ude00 é"}', ' [1, 2.0] ', 'null');
    expect(read(text)).toEqual({ text, faults: new Map() });
  });

  it('has null where an item was refused, and says where in the whole the fault lies', () => {
    const text = listOf('{"é":1}', '{"a":1e999}', '{"b":2}', String.raw`"\u0000"`);
    const list = read(text) as JsonList;
    expect(list.text).toBe(listOf('{"é":1}', 'null', '{"b":2}', 'null'));
    const bytes = (piece: string): number => Buffer.from(text).indexOf(piece);
    expect([...list.faults]).toEqual([
      [1, { offset: bytes('1e999'), reason: 'number too large' }],
      [3, { offset: bytes(String.raw`\u0000`), reason: 'NUL is not allowed' }],
    ]);
  });

  it('keeps what is around its items to the same rules', () => {
    for (const text of [
      '{"jobs":[{"a":1e999}],"jobs":[]}',
      '{"jobs":[{"a":1e999}],"x":1e999}',
      '{"jobs":[{"a":1e999}]} x',
      '{"jobs":[{"a":1e999}}',
      '{"jobs":[{"a":1e999},]}',
      '{"jobs":{"a":1e999}}',
      '[{"a":1e999}]',
      '{"list":[{"a":1e999}]}',
      '',
    ])
      expect(read(text), text).toHaveProperty('reason');
  });

  it('allows an item the depth that is left, and all of them together their keys', () => {
    const deep = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);
    expect(read(listOf(deep(14)))).toHaveProperty('faults', new Map());
    expect((read(listOf(deep(15), '{}')) as JsonList).faults.get(0)).toMatchObject({
      reason: 'more than 14 levels deep',
    });
    const keys = (count: number): string =>
      `{${Array.from({ length: count }, (_, i) => `"k${i}":0`).join()}}`;
    expect((read(listOf(keys(101), '{}')) as JsonList).faults.has(0)).toBe(true);
    // No single one has too many, so nobody can be blamed.
    expect(read(listOf(keys(60), keys(60)))).toMatchObject({ reason: 'more than 100 keys' });
  });

  it('judges each item as if it came alone, whatever stands beside it', () => {
    const good = fc
      .json({ maxDepth: 3 })
      .filter(
        (text) =>
          !('reason' in (checkJson(Buffer.from(text), { ...LIMITS, maxKeys: 5, maxDepth: 14 }) ?? {})),
      );
    const bad = fc.constantFrom(
      '1e999',
      '{"a":-1e400}',
      String.raw`"\ud800"`,
      String.raw`{"\u0000":1}`,
      '{"a":1,"a":2}',
      '{"__proto__":{}}',
      '[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]',
      'nope',
      '{"a" 1}',
      '{"a":[}',
      '01',
      '"\t"',
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(good, bad), { minLength: 1, maxLength: 8 }), (items) => {
        const result = read(listOf(...items));
        const wrong = items.flatMap((item, i) =>
          checkJson(Buffer.from(item), { ...LIMITS, maxDepth: 14, duplicateKeysToDepth: 2 }) ? [i] : [],
        );
        if ('reason' in result) return void expect(items.some((item) => item === '{"a":[}')).toBe(true);
        expect([...result.faults.keys()]).toEqual(wrong);
        const { jobs } = JSON.parse(result.text) as { jobs: unknown[] };
        expect(jobs).toEqual(
          items.map((item, i) => (wrong.includes(i) ? null : (JSON.parse(item) as unknown))),
        );
      }),
      { numRuns: 500 },
    );
  });
});
