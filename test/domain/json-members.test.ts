import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkJson } from '../../src/domain/json-gate.ts';
import { members, rawItems, rawMember, rewriteObject } from '../../src/domain/json-members.ts';
import { jsonText, plainKeyedText, spaces } from '../support/json-texts.ts';

/** JSON.parse of Node 24 may misread keys with escapes (nodejs/node#63785): where it is the judge, there are none. */
const PLAIN = {
  name: fc.constantFrom('a', 'b', 'model', 'stream', 'constructor', '}', 'é', '水', '7', ''),
  value: plainKeyedText,
};
const WILD = {
  name: fc
    .oneof(fc.constantFrom('a', 'model', '"', '\\', '\n'), fc.string({ unit: 'grapheme' }))
    .filter((name) => name !== '__proto__'),
  value: jsonText,
};

const NESTED =
  '{"a" : "}{\\"]\\\\" , "b":{"a":[{"b":"\\\\\\""},"]"],"c":{}}\n,"\\u0063":[ 1.0, 12345678901234567890 ],"d":-0 }';

describe('members', () => {
  it('gives the top level, as it lies in the text', () => {
    const found = members(NESTED);
    expect(found.map(({ name, start, end }) => [name, NESTED.slice(start, end)])).toEqual([
      ['a', '"}{\\"]\\\\"'],
      ['b', '{"a":[{"b":"\\\\\\""},"]"],"c":{}}'],
      ['c', '[ 1.0, 12345678901234567890 ]'],
      ['d', '-0'],
    ]);
    expect(found.map(({ from, to }) => NESTED.slice(from, to))[0]).toBe('"a" : "}{\\"]\\\\"');
    expect(NESTED.slice(found[2]!.from, found[2]!.start)).toBe('"\\u0063":');
  });

  it('finds none in an empty object', () => {
    expect(members('{}')).toEqual([]);
    expect(members(' { \n } ')).toEqual([]);
  });

  it.each(['', '[]', '1', '"{}"', 'null'])('throws TypeError for %j, which is no object', (text) => {
    expect(() => members(text)).toThrow(TypeError);
    expect(() => rewriteObject(text, {})).toThrow(TypeError);
  });
});

describe('rawMember and rawItems', () => {
  it('give raw texts', () => {
    expect(rawMember(NESTED, 'c')).toBe('[ 1.0, 12345678901234567890 ]');
    expect(rawMember(NESTED, 'x')).toBeNull();
    expect(rawMember('{"a":1,"a":2}', 'a')).toBe('2');
    expect(rawMember('{"a":1}', 'constructor')).toBeNull();
    expect(rawItems(' [ 1.0 ,"],[", [ ] ,{"a":[]}, null ] ')).toEqual([
      '1.0',
      '"],["',
      '[ ]',
      '{"a":[]}',
      'null',
    ]);
    expect(rawItems('[ ]')).toEqual([]);
    expect(() => rawItems('{}')).toThrow(TypeError);
  });

  it('give back what was put together', () => {
    const property = fc.property(fc.array(fc.tuple(spaces, jsonText, spaces)), (items) => {
      const texts = items.map(([, text]) => text);
      const array = `[${items.map((item) => item.join('')).join(',')}]`;
      expect(rawItems(array)).toEqual(texts);
      const object = `{${items.map(([before, text, after], i) => `"${i}"${after}:${before}${text}${after}`).join(',')}}`;
      expect(texts.map((_, i) => rawMember(object, `${i}`))).toEqual(texts);
    });
    fc.assert(property, { numRuns: 500 });
  });
});

describe('rewriteObject', () => {
  it.each<[string, Record<string, string | null>, string]>([
    ['{"a":1,"b":2,"c":3}', { a: null }, '{"b":2,"c":3}'],
    ['{"a":1,"b":2,"c":3}', { b: null }, '{"a":1,"c":3}'],
    ['{"a":1,"b":2,"c":3}', { c: null }, '{"a":1,"b":2}'],
    ['{"a":1,"b":2,"c":3}', { a: null, b: null }, '{"c":3}'],
    ['{"a":1,"b":2,"c":3}', { a: null, c: null }, '{"b":2}'],
    ['{"a":1,"b":2,"c":3}', { a: null, b: null, c: null }, '{}'],
    ['{"a":1,"b":2,"c":3}', { a: null, b: null, c: null, d: '4' }, '{"d":4}'],
    ['{"a":1,"b":2,"c":3}', { d: '4', b: '[5]', e: '6' }, '{"a":1,"b":[5],"c":3,"d":4,"e":6}'],
    ['{"a":1,"b":2,"c":3}', { x: null }, '{"a":1,"b":2,"c":3}'],
    ['{}', { a: '1', b: null, c: '{}' }, '{"a":1,"c":{}}'],
    [' { } ', { a: '1' }, ' {"a":1 } '],
    ['{\n  "a": 1.0,\n  "b" : 2\n}\n', { a: null }, '{\n  "b" : 2\n}\n'],
    ['{\n  "a": 1.0,\n  "b" : 2\n}\n', { b: null, c: '3' }, '{\n  "a": 1.0,"c":3\n}\n'],
    ['{\n  "a": 1.0,\n  "b" : 2\n}\n', { b: '3' }, '{\n  "a": 1.0,\n  "b" : 3\n}\n'],
    ['{"n":12345678901234567890,"model":"x"}', { model: '"y"' }, '{"n":12345678901234567890,"model":"y"}'],
    [
      '{"a":{"model":"in"},"s":"\\"model\\":1"}',
      { model: '"y"' },
      '{"a":{"model":"in"},"s":"\\"model\\":1","model":"y"}',
    ],
    ['{"m\\u006fdel":"x"}', { model: '"y"' }, '{"m\\u006fdel":"y"}'],
    ['{"a":1,"b":2,"a":3}', { a: '4' }, '{"a":4,"b":2,"a":4}'],
    ['{"a":1,"b":2,"a":3}', { a: null }, '{"b":2}'],
    ['{"constructor":1,"toString":2}', { valueOf: '3' }, '{"constructor":1,"toString":2,"valueOf":3}'],
    ['{}', { 'q"\\\n': '1' }, '{"q\\"\\\\\\n":1}'],
    ['{"a":"$&"}', { a: '"$1$&"' }, '{"a":"$1$&"}'],
  ])('%s with %j', (text, changes, expected) => {
    expect(rewriteObject(text, changes)).toBe(expected);
  });

  it.each([
    ['plain keys, as JSON.parse reads the outcome', PLAIN, false],
    ['keys in any spelling, as the text lies', WILD, true],
  ])('keeps, replaces, removes and appends as a model of it does: %s', (_, { name, value }, escapes) => {
    const member = fc.record({
      name,
      value,
      escape: escapes ? fc.boolean() : fc.constant(false),
      gaps: fc.tuple(spaces, spaces, spaces, spaces),
    });
    const object = fc.uniqueArray(member, { selector: ({ name }) => name, maxLength: 6 });
    const edits = fc.array(fc.tuple(fc.nat(), fc.option(value)), { maxLength: 4 });
    const news = fc.array(fc.tuple(name, fc.option(value)), { maxLength: 3 });
    const property = fc.property(object, edits, news, (object, edits, news) => {
      const named = edits.map(([at, value]) => [object[at % object.length]?.name ?? 'none', value] as const);
      const changes = Object.fromEntries<string | null>([...news, ...named]);
      const wanted = new Map(Object.entries(changes));
      const expected: { name: string; key: string; value: string }[] = [];
      const written = object.map(({ name, value, escape, gaps: [a, b, c, d] }) => {
        const key = `${quoted(name, escape)}${b}:${c}`;
        const change = wanted.get(name);
        if (change !== null) expected.push({ name, key, value: change ?? value });
        wanted.delete(name);
        return `${a}${key}${value}${d}`;
      });
      for (const [name, value] of wanted) {
        if (value !== null) expected.push({ name, key: `${JSON.stringify(name)}:`, value });
      }

      const result = rewriteObject(`{${written.join(',')}}`, changes);

      const found = members(result).map(({ name, from, start, end }) => ({
        name,
        key: result.slice(from, start),
        value: result.slice(start, end),
      }));
      expect(found).toEqual(expected);
      const parsed = JSON.parse(result) as Record<string, unknown>;
      if (escapes) return;
      expect(Object.keys(parsed).toSorted()).toEqual(expected.map(({ name }) => name).toSorted());
      for (const { name, value } of expected) {
        expect(JSON.stringify(parsed[name])).toBe(JSON.stringify(JSON.parse(value)));
      }
    });
    fc.assert(property, { numRuns: 800 });
  });

  it('changes nothing when nothing is to be changed', () => {
    const property = fc.property(jsonText, spaces, spaces, (text, before, after) => {
      const object = `${before}{"a"${after}:${text}${before}}${after}`;
      expect(rewriteObject(object, {})).toBe(object);
      expect(rewriteObject(object, { b: null })).toBe(object);
      expect(rewriteObject(rewriteObject(object, { a: '1' }), { a: text })).toBe(object);
    });
    fc.assert(property, { numRuns: 500 });
  });
});

describe('text that the gate would not have let in', () => {
  it('ends in a value or an error, and what is valid never in an error', () => {
    const soup = fc.array(
      fc.constantFrom('{', '}', '[', ']', '"', '\\', ',', ':', ' ', '1', 'a', 'true', '"a"', '\n'),
      { maxLength: 15 },
    );
    const property = fc.property(soup, (pieces) => {
      for (const [text, cut] of [
        [`{${pieces.join('')}`, members],
        [`[${pieces.join('')}`, rawItems],
      ] as const) {
        const valid =
          checkJson(Buffer.from(text), { maxDepth: 100, maxKeys: 100, duplicateKeysToDepth: 0 }) === null;
        if (valid) cut(text);
        else expect(settled(() => cut(text))).toBe(true);
      }
    });
    fc.assert(property, { numRuns: 3000 });
  });
});

/** True once `act` has come back, with a value or one of the two errors that bad text may cause. */
function settled(act: () => unknown): boolean {
  try {
    act();
    return true;
  } catch (error) {
    return error instanceof TypeError || error instanceof SyntaxError;
  }
}

/** A key in plain spelling, or with every character escaped. */
function quoted(name: string, escape: boolean): string {
  if (!escape) return JSON.stringify(name);
  const units = Array.from({ length: name.length }, (_, i) =>
    name.charCodeAt(i).toString(16).padStart(4, '0'),
  );
  return `"${units.map((unit) => `\\u${unit}`).join('')}"`;
}
