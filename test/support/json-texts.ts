// Arbitrary JSON texts for fast-check, their mutations, and a second opinion on what the gate should say of them.
import fc, { type Arbitrary } from 'fast-check';
import type { JsonLimits } from '../../src/domain/json-gate.ts';

const weighed = (weight: number, arbitrary: Arbitrary<string>) => ({ weight, arbitrary });
const oneOf = (words: string): Arbitrary<string> => fc.constantFrom(...words.split(' '));

export const spaces = fc.constantFrom('', '', '', ' ', '\n', '\r\n\t', '    ');

/** What lies between the quotes. */
const PIECE = fc.oneof(
  weighed(
    6,
    fc.string({ unit: 'grapheme', maxLength: 12 }).map((text) => JSON.stringify(text).slice(1, -1)),
  ),
  weighed(3, oneOf('{ }] , : \\" \\\\ \\/ \\b\\f\\n\\r\\t é 水車 😀 \u007f')),
  weighed(2, oneOf('\\u003c \\u00E9 \\ud83d\\uDE00 \\uDBFF\\udfff \\uffff \\ue000 \\ud7ff')),
);
const FORBIDDEN_PIECE = oneOf('\\u0000 \\ud800 \\udc00 \\ud800\\ud800 \\udbff\\n \\ud800\\u0061');

const STRING = fc.array(PIECE, { maxLength: 4 }).map((pieces) => `"${pieces.join('')}"`);
const WORD_ESCAPE = STRING.map((text) => `${text.slice(0, -1)}\\u0061"`);
const FORBIDDEN_STRING = fc
  .tuple(STRING, FORBIDDEN_PIECE)
  .map(([text, piece]) => `${text.slice(0, -1)}${piece}"`);

const NUMBER = fc.oneof(
  oneOf('0 -0 -0.0 12345678901234567890 1.0 1e5 1E+2 1e-7 0e99999 5e-324 1.7976931348623157e308 1e-200000'),
  fc.constantFrom(
    '9'.repeat(308),
    `1${'0'.repeat(400)}e-200`,
    `0.${'0'.repeat(400)}1e500`,
    '1e0000000000000002',
  ),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => JSON.stringify(value)),
);
const INFINITE = oneOf(`1e309 -1e309 1.7976931348623159e308 1e200000 1e+0000309 ${'9'.repeat(400)}`);

const GOOD_SCALAR = fc.oneof(weighed(2, STRING), weighed(2, NUMBER), weighed(1, oneOf('true false null')));
const ANY_SCALAR = fc.oneof(
  weighed(30, GOOD_SCALAR),
  weighed(1, WORD_ESCAPE),
  weighed(1, FORBIDDEN_STRING),
  weighed(1, INFINITE),
);

/** Few, so that they meet. */
const PLAIN_KEY = oneOf(`a b c ab role constructor é 水 } ${'x'.repeat(64)} ${'x'.repeat(65)}`).map(
  (name) => `"${name}"`,
);
const GOOD_KEY = fc.oneof(
  weighed(8, PLAIN_KEY),
  weighed(3, STRING),
  weighed(1, oneOf('"" "\\u00e9" "__proto" "__Proto__" "\\\\__proto__"')),
);
const ANY_KEY = fc.oneof(
  weighed(30, GOOD_KEY),
  weighed(1, WORD_ESCAPE),
  weighed(
    1,
    oneOf('"__proto__" "\\u005f_proto__" "\\u005f\\u005f\\u0070\\u0072\\u006f\\u0074\\u006f\\u005F\\u005f"'),
  ),
);

/** @param twins whether an object may repeat a key's spelling; it may name one twice all the same, in two spellings. */
function textsOf(scalar: Arbitrary<string>, key: Arbitrary<string>, twins: boolean): Arbitrary<string> {
  const { value } = fc.letrec<{ value: string; array: string; object: string }>((tie) => {
    const member = fc.tuple(spaces, key, spaces, fc.constant(':'), spaces, tie('value'), spaces);
    return {
      value: fc.oneof({ maxDepth: 5, depthSize: 'small' }, scalar, tie('array'), tie('object')),
      array: fc
        .array(fc.tuple(spaces, tie('value'), spaces), { maxLength: 5 })
        .map((items) => `[${items.map((parts) => parts.join('')).join(',')}]`),
      object: fc
        .uniqueArray(member, { selector: ([, key]) => (twins ? {} : key), maxLength: 20 })
        .map((members) => `{${members.map((parts) => parts.join('')).join(',')}}`),
    };
  });
  return value;
}

/** Valid JSON texts, in many spellings, some of them with what only the gate refuses. */
export const jsonText = fc.oneof(
  weighed(3, textsOf(GOOD_SCALAR, GOOD_KEY, false)),
  weighed(2, textsOf(ANY_SCALAR, ANY_KEY, true)),
);

/** The same without escapes in keys, which JSON.parse of Node 24 may misread (nodejs/node#63785). */
export const plainKeyedText = textsOf(GOOD_SCALAR, PLAIN_KEY, false);

const NASTY_BYTES = Buffer.from(
  '{}[]",:\\/ \n\t\0\x1f+-.0123456789aeEfnrtuxlsdDcC8\x7f\xef\xbb\xbf\x80\xc0\xed\xa0\xf4\x90\xff',
  'latin1',
);
const NASTY_BYTE = fc.oneof(fc.constantFrom(...NASTY_BYTES), fc.integer({ min: 0, max: 255 }));

type Edit = { at: number; cut: number; put: number[] };
const EDIT: fc.Arbitrary<Edit> = fc.record({
  at: fc.nat(),
  cut: fc.nat({ max: 3 }),
  put: fc.array(NASTY_BYTE, { maxLength: 2 }),
});

/** Bodies: texts as they are, texts with bytes changed, cut off, or nonsense. */
export const body: fc.Arbitrary<Buffer> = fc.oneof(
  { weight: 2, arbitrary: jsonText.map((text) => Buffer.from(text)) },
  {
    weight: 6,
    arbitrary: fc
      .tuple(jsonText, fc.array(EDIT, { minLength: 1, maxLength: 3 }))
      .map(([text, edits]) => edits.reduce(edited, Buffer.from(text))),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(jsonText, fc.nat())
      .map(([text, at]) => Buffer.from(text).subarray(0, at % (text.length + 1))),
  },
  { weight: 1, arbitrary: fc.array(NASTY_BYTE, { maxLength: 12 }).map((bytes) => Buffer.from(bytes)) },
);

function edited(bytes: Buffer, { at, cut, put }: Edit): Buffer {
  const place = at % (bytes.length + 1);
  return Buffer.concat([bytes.subarray(0, place), Buffer.from(put), bytes.subarray(place + cut)]);
}

/** The same bytes somewhere inside a larger buffer, `shift` bytes off a word's border, between bytes that would mislead. */
export function placed(bytes: Buffer, shift: number): Buffer {
  const room = Buffer.from(new ArrayBuffer(bytes.length + 16)).fill('"');
  bytes.copy(room, 4 + shift);
  return room.subarray(4 + shift, 4 + shift + bytes.length);
}

const TOKEN = /("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?|-?[0-9][0-9.eE+-]*|[[\]{}]/g;

/** The second opinion: whether a body may pass. JSON.parse judges the grammar, a pattern finds the tokens for the rest. */
export function mayPass(bytes: Buffer, limits: Required<JsonLimits>): boolean {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    JSON.parse(text);
  } catch {
    return false;
  }
  let keys = 0;
  const open: Set<string>[] = [];
  for (const [token, quoted, colon] of text.matchAll(TOKEN)) {
    if (quoted !== undefined) {
      const value = JSON.parse(quoted) as string;
      if (value.includes('\0') || !value.isWellFormed()) return false;
      if (colon === undefined) continue;
      const names = open.at(-1)!;
      if (value === '__proto__' || ++keys > limits.maxKeys) return false;
      if (names.has(value) && open.length <= limits.duplicateKeysToDepth) return false;
      names.add(value);
      // One escape at a time; half a surrogate pair is none of them either.
      const escapes = Array.from(
        quoted.matchAll(/\\(?:u.{4}|.)/g),
        ([escape]) => JSON.parse(`"${escape}"`) as string,
      );
      if (escapes.some((character) => /[\w$.:-]/.test(character))) return false;
    } else if (token === '[' || token === '{') {
      open.push(new Set());
      if (open.length > limits.maxDepth) return false;
    } else if (token === ']' || token === '}') {
      open.pop();
    } else if (!Number.isFinite(Number(token))) return false;
  }
  return true;
}
