import { describe, expect, it } from 'vitest';
import { check, fault } from '../support/json-verdict.ts';

describe('checkJson: grammar', () => {
  it.each([
    ['null', 'true', 'false', '0', '-0', '-1', '10', '1.5', '1e5', '1E-5', '1.25e+10', '""', '[]', '{}'],
    [
      ' 1 ',
      '\t\r\n[ ]\n',
      '{ }',
      '[ 1 , 2 ]',
      '{ "a" : 1 , "b" : [ ] }',
      '[[],{},[[]]]',
      '{"":{"":{"":""}}}',
    ],
    [
      '"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9"',
      '"/"',
      '"\\\\"',
      '"\\\\\\""',
      '"\u007f\u0080\u2028\u2029\ufeff\uffff"',
      '"é水😀"',
    ],
    [
      '"\\ud83d\\ude00"',
      '"\\uD7FF\\uE000"',
      '"\\uDBFF\\uDFFF"',
      '"\\u0001"',
      '["a]","}","{[,:"]',
      '"abcdefghijklmnopqrstuvwxyz"',
    ],
    [
      '12345678901234567890',
      '-123123e-10000',
      '0e1',
      `[${'9'.repeat(308)}]`,
      '1.7976931348623157e308',
      '0e200000',
      '1e-200000',
    ],
  ])('passes %s and its like', (...texts) => {
    for (const text of texts) {
      expect(() => JSON.parse(text), text).not.toThrow();
      expect(check(text), text).toBeNull();
    }
  });

  it.each([
    ['[', 1, 'unexpected end'],
    ['[1', 2, 'unexpected end'],
    ['[1,', 3, 'unexpected end'],
    ['{"a"', 4, 'unexpected end'],
    ['{"a":', 5, 'unexpected end'],
    ['"abc', 4, 'unexpected end'],
    ['"abc\\', 5, 'unexpected end'],
    ['"abc\\"', 6, 'unexpected end'],
    ['"\\u12', 5, 'unexpected end'],
    ['"\\ud83d\\ude', 1, 'lone surrogate'],
    ['tru', 3, 'unexpected end'],
    ['-', 1, 'unexpected end'],
    ['1.', 2, 'unexpected end'],
    ['1e', 2, 'unexpected end'],
    ['1e+', 3, 'unexpected end'],
    [' \n ', 3, 'unexpected end'],
    ['[1,]', 3, 'unexpected character ]'],
    ['[,1]', 1, 'unexpected character ,'],
    ['[1,,2]', 3, 'unexpected character ,'],
    ['[1 2]', 3, 'unexpected character 2'],
    ['[1}', 2, 'unexpected character }'],
    ['{"a":1]', 6, 'unexpected character ]'],
    ['{"a":1,}', 7, 'unexpected character }'],
    ['{,}', 1, 'unexpected character ,'],
    ['{a:1}', 1, 'unexpected character a'],
    ["{'a':1}", 1, "unexpected character '"],
    ['{1:1}', 1, 'unexpected character 1'],
    ['{"a" 1}', 5, 'unexpected character 1'],
    ['{"a":}', 5, 'unexpected character }'],
    ['{"a"::1}', 5, 'unexpected character :'],
    ['{"a":1 "b":2}', 7, 'unexpected character "'],
    [']', 0, 'unexpected character ]'],
    ['01', 1, 'text after the JSON value'],
    ['-01', 2, 'text after the JSON value'],
    ['[01]', 2, 'unexpected character 1'],
    ['+1', 0, 'unexpected character +'],
    ['.5', 0, 'unexpected character .'],
    ['[1.e5]', 3, 'unexpected character e'],
    ['[-.5]', 2, 'unexpected character .'],
    ['[-a]', 2, 'unexpected character a'],
    ['[1e5.5]', 4, 'unexpected character .'],
    ['0x10', 1, 'text after the JSON value'],
    ['1_000', 1, 'text after the JSON value'],
    ['NaN', 0, 'unexpected character N'],
    ['nan', 1, 'unexpected character a'],
    ['-Infinity', 1, 'unexpected character I'],
    ['undefined', 0, 'unexpected character u'],
    ['True', 0, 'unexpected character T'],
    ['trux', 3, 'unexpected character x'],
    ['nullx', 4, 'text after the JSON value'],
    ['{}{}', 2, 'text after the JSON value'],
    ['[]]', 2, 'text after the JSON value'],
    ['1 2', 2, 'text after the JSON value'],
    ['// no\n1', 0, 'unexpected character /'],
    ['[1/**/]', 2, 'unexpected character /'],
    ['"a\tb"', 2, 'control character in a string'],
    ['"abcdefg\nh"', 8, 'control character in a string'],
    ['"abcdef\u0000gh"', 7, 'control character in a string'],
    ['"\u001f"', 1, 'control character in a string'],
    ['"\\x41"', 1, 'unknown escape'],
    ['"\\\'"', 1, 'unknown escape'],
    ['"\\U0041"', 1, 'unknown escape'],
    ['"\\u00g1"', 1, 'unknown escape'],
    ['"\\u00g1', 1, 'unknown escape'],
    ['"\\u+041"', 1, 'unknown escape'],
    ['"\\u 041"', 1, 'unknown escape'],
    ['"\\u004"x"', 1, 'unknown escape'],
    ['"\\é"', 1, 'unknown escape'],
    ['[\u00a01]', 1, 'unexpected character'],
    ['[\f1]', 1, 'unexpected character'],
    ['[\v1]', 1, 'unexpected character'],
    ['\u00001', 0, 'unexpected character'],
    ['1\u0000', 1, 'text after the JSON value'],
    ['\u20281', 0, 'unexpected character'],
  ])('refuses %j at %i', (text, offset, reason) => {
    expect(() => JSON.parse(text)).toThrow(SyntaxError);
    expect(check(text)).toEqual(fault(offset, reason));
  });

  it('sees what may not stand in a string at every place in it', () => {
    for (let byte = 0; byte < 0x20; byte++) {
      for (let at = 1; at < 12; at++) {
        const bytes = Buffer.from('"aaaaaaaaaaaaaaaaa"');
        bytes[at] = byte;
        expect(check([...bytes]), `${byte} at ${at}`).toEqual(fault(at, 'control character in a string'));
      }
    }
  });

  it('refuses an empty body, a byte order mark, and UTF-16', () => {
    expect(check('')).toEqual(fault(0, 'empty body'));
    expect(check('\ufeff{}')).toEqual(fault(0, 'byte order mark'));
    expect(check([...Buffer.from('{"a":1}', 'utf16le')])).toEqual(fault(1, 'unexpected character'));
    expect(check([0xff, 0xfe, 0x31, 0x00])).toEqual(fault(0, 'not UTF-8'));
  });
});

describe('checkJson: what JSON.parse would let pass', () => {
  it.each([
    ['overlong /', [0xc0, 0xaf], 1],
    ['overlong NUL', [0xc0, 0x80], 1],
    ['overlong in three bytes', [0xe0, 0x9f, 0xbf], 1],
    ['overlong in four bytes', [0xf0, 0x8f, 0xbf, 0xbf], 1],
    ['a high surrogate', [0xed, 0xa0, 0x80], 1],
    ['a surrogate pair', [0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80], 1],
    ['beyond U+10FFFF', [0xf4, 0x90, 0x80, 0x80], 1],
    ['five bytes', [0xf8, 0x88, 0x80, 0x80, 0x80], 1],
    ['a stray continuation', [0x41, 0x80], 2],
    ['a truncated pair', [0x41, 0xc3], 2],
    ['a truncated triple', [0xe6, 0xb0], 1],
    ['a truncated quadruple', [0xf0, 0x9f, 0x98], 1],
    ['0xff', [0x41, 0x42, 0xff], 3],
  ])('refuses bytes that are not UTF-8: %s', (_, bytes, offset) => {
    expect(check([0x22, ...bytes, 0x22])).toEqual(fault(offset, 'not UTF-8'));
    expect(check([0x22, ...bytes])).toEqual(fault(offset, 'not UTF-8'));
  });

  it.each([
    ['"\\u0000"', 1, 'NUL is not allowed'],
    ['{"a":["b\\u0000"]}', 8, 'NUL is not allowed'],
    ['{"\\u0000":1}', 2, 'NUL is not allowed'],
    ['"\\ud800"', 1, 'lone surrogate'],
    ['"\\udc00"', 1, 'lone surrogate'],
    ['"\\udfff\\ud800"', 1, 'lone surrogate'],
    ['"ab\\ud800cdefghij"', 3, 'lone surrogate'],
    ['"\\ud800\\ndc00"', 1, 'lone surrogate'],
    ['"\\ud800xudc00"', 1, 'lone surrogate'],
    ['"\\udc00\\udc00"', 1, 'lone surrogate'],
    ['"\\ud800\\ue000"', 1, 'lone surrogate'],
    ['"\\ud800\\u0041"', 1, 'lone surrogate'],
    ['"\\ud800\\ud800\\udc00"', 1, 'lone surrogate'],
    ['"\\ud83d\\ude00\\ude00"', 13, 'lone surrogate'],
    ['{"a":{"\\ud800":1}}', 7, 'lone surrogate'],
    ['1e309', 0, 'number too large'],
    ['[0,-1e200000]', 3, 'number too large'],
    ['{"a":1.7976931348623159e308}', 5, 'number too large'],
    [`[${'9'.repeat(309)}]`, 1, 'number too large'],
    [`[${'9'.repeat(250)}e99]`, 1, 'number too large'],
    ['{"__proto__":1}', 1, 'forbidden key'],
    ['{"a":[{"b":{"c":[[{"__proto__":{}}]]}}]}', 19, 'forbidden key'],
    ['{"a":1,"\\u005f_prot\\u006F__":1}', 7, 'forbidden key'],
  ])('refuses %s at %i', (text, offset, reason) => {
    expect(() => JSON.parse(text)).not.toThrow();
    expect(check(text)).toEqual(fault(offset, reason));
  });

  it('minds keys, not values, and no other name', () => {
    expect(
      check('{"a":"__proto__","__proto":1,"__proto___":2,"\\\\__proto__":3,"constructor":4}'),
    ).toBeNull();
  });
});
