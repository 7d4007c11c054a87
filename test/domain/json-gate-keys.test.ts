import { describe, expect, it } from 'vitest';
import { checkJson } from '../../src/domain/json-gate.ts';
import { check, fault, LIMITS } from '../support/json-verdict.ts';

const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);

describe('checkJson: keys that JSON.parse may misread', () => {
  it('refuses what field names are made of, spelled as escapes, at any depth', () => {
    expect(check('{"a":1,"\\u006e":2}')).toEqual(fault(7, 'needless escape in a key'));
    expect(check('{"a":[[[[{"max\\u005Ftokens":2}]]]]}')).toEqual(fault(10, 'needless escape in a key'));
    for (const unit of [
      '0024',
      '002d',
      '002E',
      '0030',
      '0039',
      '003a',
      '0041',
      '005a',
      '005A',
      '005f',
      '0061',
      '007a',
    ]) {
      expect(check(`{"-\\u${unit}":1}`)?.reason, unit).toBe('needless escape in a key');
    }
  });

  it('leaves the escapes that serializers write, and all escapes in values', () => {
    const units = [
      '0001',
      '0022',
      '0026',
      '0027',
      '002f',
      '003c',
      '0040',
      '005b',
      '0060',
      '007b',
      '007f',
      '00e9',
      'ff41',
    ];
    for (const unit of units) expect(check(`{"a\\u${unit}b":1}`), unit).toBeNull();
    expect(check('{"\\"\\\\\\/\\b\\f\\n\\r\\t":1,"\\\\u0061":2,"\\ud83d\\ude00":3}')).toBeNull();
    expect(check('{"a":"\\u0061","b":["\\u0061"],"c":"\\u0061"}')).toBeNull();
  });
});

describe('checkJson: limits', () => {
  it('counts what is open at once, arrays and objects alike', () => {
    expect(check(nested(64))).toBeNull();
    expect(check(nested(65))).toEqual(fault(64, 'more than 64 levels deep'));
    expect(check(`[${nested(63)},${nested(63)}]`)).toBeNull();
    expect(check(`${'{"a":'.repeat(64)}1${'}'.repeat(64)}`)).toBeNull();
    expect(check(`${'{"a":'.repeat(65)}1${'}'.repeat(65)}`)).toEqual(
      fault(64 * 5, 'more than 64 levels deep'),
    );
    expect(check(nested(3), { maxDepth: 2, maxKeys: 0 })).toEqual(fault(2, 'more than 2 levels deep'));
    expect(check('1', { maxDepth: 0, maxKeys: 0 })).toBeNull();
  });

  it('stops where the limit is, however much follows, and needs no stack where it is high', () => {
    const deep = Buffer.from(nested(1_000_000));
    expect(checkJson(deep, LIMITS)).toEqual(fault(64, 'more than 64 levels deep'));
    expect(checkJson(deep, { maxDepth: 1_000_000, maxKeys: 0 })).toBeNull();
    expect(checkJson(deep.subarray(0, 100_000), LIMITS)).toEqual(fault(64, 'more than 64 levels deep'));
  });

  it('counts the members of all objects together', () => {
    const limits = { maxDepth: 64, maxKeys: 3 };
    expect(check('{"a":{"b":1},"c":[[],{}]}', limits)).toBeNull();
    expect(check('[{"a":1},{"a":1},{"a":{"b":1}}]', limits)).toEqual(fault(23, 'more than 3 keys'));
    expect(check('{"a":1}', { maxDepth: 64, maxKeys: 0 })).toEqual(fault(1, 'more than 0 keys'));
  });
});

describe('checkJson: duplicate keys', () => {
  it('refuses them down to depth 4 unless told otherwise: the items of a batch and their input', () => {
    expect(check('{"a":1,"b":2,"a":3}')).toEqual(fault(13, 'duplicate key'));
    expect(check('{"input":{"a":1,"a":3}}')).toEqual(fault(16, 'duplicate key'));
    expect(check('{"jobs":[{"input":{"a":1,"a":3}}]}')).toEqual(fault(25, 'duplicate key'));
    expect(check('{"jobs":[{"input":{"x":{"a":1,"a":3}}}]}')).toBeNull();
    const shallow = { ...LIMITS, duplicateKeysToDepth: 2 };
    expect(check('{"jobs":[{"input":1,"input":2}]}', shallow)).toBeNull();
    expect(check('{"input":{"a":1,"a":3}}', shallow)).toEqual(fault(16, 'duplicate key'));
    expect(check('{"a":1,"a":3}', { ...LIMITS, duplicateKeysToDepth: 0 })).toBeNull();
  });

  it('tells objects apart: siblings, parents and children share names', () => {
    expect(check('{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}],"c":{"b":1,"c":2}}')).toBeNull();
    expect(check('{"a":{"b":1,"c":2},"b":2,"c":{"a":{"b":1}},"d":3}')).toBeNull();
    expect(check('{"a":{"b":1},"c":{},"a":2}')).toEqual(fault(20, 'duplicate key'));
  });

  it('compares names, not spellings', () => {
    expect(check('{"a":1,"\\u0061":2}')).toEqual(fault(7, 'duplicate key'));
    expect(check('{"\\u00e9":1,"b":2,"é":3}')).toEqual(fault(18, 'duplicate key'));
    expect(check('{"\\/":1,"b":2,"/":3}')?.reason).toBe('duplicate key');
    expect(check('{"é":1,"\\u00e9":2}')).toEqual(fault(8, 'duplicate key'));
    expect(check('{"\\ud83d\\ude00":1,"😀":2}')?.reason).toBe('duplicate key');
    expect(check('{"\\\\u0061":1,"\\\\a":2,"A":3,"á":4,"a\\u0301":5}')).toBeNull();
    expect(check('{"":1,"":2}')).toEqual(fault(6, 'duplicate key'));
  });

  it.each([15, 16, 17, 40, 1000])('finds the twin of any of %i keys', (count) => {
    const names = Array.from({ length: count }, (_, i) => `"k${i}":{"k0":[]}`);
    const text = `{${names.join(',')}`;
    expect(check(`${text}}`)).toBeNull();
    for (const twin of [0, 7, 14, count - 1]) {
      expect(check(`${text},"k${twin}":1}`)).toEqual(fault(text.length + 1, 'duplicate key'));
    }
    expect(check(`[${text}},${text}}]`)).toBeNull();
  });

  it.each([63, 64, 65, 1000])('tells keys of %i bytes apart', (length) => {
    const key = 'x'.repeat(length - 1);
    expect(check(`{"${key}1":1,"${key}2":2,"1${key}":3,"a":4,"${key}":5}`)).toBeNull();
    expect(check(`{"${key}1":1,"a":2,"${key}1":3}`)?.reason).toBe('duplicate key');
  });
});
