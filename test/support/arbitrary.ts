// Requests that nobody would write: mostly right, so that they get far, and wrong in one place or several.
import fc from 'fast-check';
import type { Operation, Parameter, Schema } from './document.ts';

export interface FuzzedRequest {
  path: string;
  headers: Record<string, string>;
  body: string | null;
}

/** What fits nowhere, or only just. */
const ODD: unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e300,
  -1e300,
  2 ** 31,
  2 ** 53,
  2 ** 63,
  '',
  ' ',
  'x',
  'null',
  '0',
  '-1',
  '\0',
  '\ud800',
  '\udc00x',
  '😀',
  '\u202e',
  'a\nb',
  '%00',
  '../../etc/passwd',
  "'; drop table jobs --",
  '{{7*7}}',
  '<img src=x onerror=alert(1)>',
  'x'.repeat(300),
  'x'.repeat(70_000),
  [],
  [[]],
  {},
  { a: { b: { c: [] } } },
  { toString: 1, constructor: {}, hasOwnProperty: null },
];
const odd = fc.oneof(
  fc.constantFrom(...ODD),
  fc.jsonValue({ maxDepth: 3 }),
  fc.string({ unit: 'binary', maxLength: 40 }),
);

/** Values that the schema allows, more or less, with something odd now and then. */
export function valueOf(schema: Schema): fc.Arbitrary<unknown> {
  return fc.oneof({ arbitrary: fitting(schema), weight: 12 }, { arbitrary: odd, weight: 1 });
}

function fitting(schema: Schema): fc.Arbitrary<unknown> {
  if (schema.enum) return fc.constantFrom(...schema.enum);
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.anyOf) return fc.oneof(...schema.anyOf.map(valueOf));
  const { minimum = -10, maximum = 1_000_000 } = schema;
  switch (Array.isArray(schema.type) ? schema.type[0] : schema.type) {
    case 'integer':
      return fc.oneof(
        fc.integer({ min: Math.max(minimum, -(2 ** 31)), max: Math.min(maximum, 2 ** 31 - 1) }),
        fc.constantFrom(minimum, maximum, minimum - 1, maximum + 1),
      );
    case 'number':
      return fc.oneof(
        fc.double({ min: minimum, max: maximum, noNaN: true }),
        fc.constantFrom(minimum, maximum),
      );
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'array':
      return fc.array(valueOf(schema.items ?? {}), { minLength: 0, maxLength: 4 });
    case 'object':
      return objectOf(schema);
    case 'string':
      return textOf(schema);
    default:
      return fc.jsonValue({ maxDepth: 2 });
  }
}

function objectOf({ properties = {}, required = [], additionalProperties }: Schema): fc.Arbitrary<unknown> {
  const named = Object.fromEntries(
    Object.entries(properties).map(([name, schema]) => [name, valueOf(schema)]),
  );
  const known = fc.record(named, { requiredKeys: required.filter((name) => name in named) });
  const extra = typeof additionalProperties === 'object' ? valueOf(additionalProperties) : odd;
  const names = fc.oneof(
    fc.string({ maxLength: 8 }),
    fc.constantFrom('x', '__proto__', 'toString', '\0', 'a\nb', 'ж'.repeat(50)),
  );
  const strangers = fc.dictionary(names, extra, { maxKeys: 2, noNullPrototype: true });
  const mayHave = additionalProperties === false ? 1 : 4;
  return fc.oneof(
    { arbitrary: known, weight: 8 },
    { arbitrary: fc.tuple(known, strangers).map(([one, more]) => ({ ...one, ...more })), weight: mayHave },
  );
}

function textOf({ pattern, format, minLength = 0, maxLength = 200 }: Schema): fc.Arbitrary<unknown> {
  if (format === 'date-time')
    return fc.oneof(
      fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
      fc.constantFrom(
        '2099-01-01T00:00:00Z',
        '2099-12-31T23:59:60Z',
        '0000-01-01T00:00:00Z',
        '2026-02-30T00:00:00Z',
      ),
      fc.constantFrom('2030-01-01T00:00:00+23:59', 'now', '+275760-09-13T00:00:00.000Z'),
    );
  if (pattern) return fc.stringMatching(new RegExp(pattern)).map((text) => text.slice(0, 300));
  const most = Math.min(maxLength, 200);
  const least = Math.min(minLength, most);
  return fc.oneof(
    fc.string({ minLength: least, maxLength: most }),
    fc.string({ unit: 'grapheme', minLength: least, maxLength: Math.min(most, 20) }),
    fc.constantFrom('sim/chat', 'sim/image', 'sim/tts', 'sim/stt', 'startup'),
  );
}

/** A good value with something else in up to three places of it. */
function spoilt(example: unknown): fc.Arbitrary<unknown> {
  const places = placesIn(example);
  const change = fc.tuple(fc.nat(places.length - 1), odd, fc.constantFrom('replace', 'remove', 'add'));
  return fc.array(change, { maxLength: 3 }).map((changes) => {
    const copy = structuredClone(example);
    for (const [at, value, how] of changes) {
      const path = places[at] as string[];
      const holder = path
        .slice(0, -1)
        .reduce((inner: unknown, key) => (inner as Record<string, unknown> | undefined)?.[key], copy);
      if (typeof holder !== 'object' || holder === null) continue;
      const last = path.at(-1) as string;
      if (how === 'remove') Reflect.deleteProperty(holder, last);
      else Object.assign(holder, { [how === 'add' ? `${last}_` : last]: value });
    }
    return copy;
  });
}

function placesIn(value: unknown, path: string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [path];
  return [
    ...(path.length > 0 ? [path] : []),
    ...Object.entries(value).flatMap(([key, inner]) => placesIn(inner, [...path, key])),
  ];
}

/** JSON text of a value; or that text with a piece cut out, doubled or replaced; or no JSON at all. */
function bodyOf(schema: Schema, examples: readonly unknown[]): fc.Arbitrary<string> {
  const values = [valueOf(schema), ...examples.map(spoilt)];
  const good = fc.oneof(...values).map((value) => JSON.stringify(value) ?? '');
  const broken = fc.tuple(
    good,
    fc.nat(),
    fc.nat(20),
    fc.constantFrom(
      '',
      '"',
      '{',
      '}',
      '\\',
      '\0',
      '1e999',
      String.raw`\u0000`,
      String.raw`\ud800`,
      ',',
      '[[',
    ),
  );
  return fc.oneof(
    { arbitrary: good, weight: 10 },
    {
      arbitrary: broken.map(([text, at, length, piece]) => {
        const from = at % (text.length + 1);
        return text.slice(0, from) + piece + text.slice(from + length);
      }),
      weight: 3,
    },
    { arbitrary: fc.string({ unit: 'binary', maxLength: 30 }), weight: 1 },
  );
}

const HEADERS = {
  'idempotency-key': fc.oneof(
    fc.string({ maxLength: 20 }),
    fc.constantFrom('', '""', '"a"', 'x'.repeat(256), 'é'),
  ),
  'x-client-request-id': fc.oneof(fc.string({ maxLength: 20 }), fc.constant('mine')),
  prefer: fc.constantFrom('wait=0', 'wait=x', 'respond-async', ''),
  accept: fc.constantFrom('*/*', 'application/json', 'text/event-stream', 'image/png', '', ';;;', 'a/b;q=x'),
  range: fc.constantFrom('bytes=0-0', 'bytes=-1', 'bytes=9-1', 'bytes=', 'x', 'bytes=0-1,2-3'),
  'if-none-match': fc.constantFrom('*', '"x"', 'W/"x"', ',,,', '"'),
  'last-event-id': fc.constantFrom('1', '1.2.3', 'x', '-1', '999999999999999999', '1.2', ''),
};

/** Characters that a header can carry at all. */
const sendable = (value: string): boolean => /^[\t\x20-\x7e\x80-\xff]*$/.test(value);

const queryOf = ({ name, schema }: Parameter): fc.Arbitrary<string> => {
  // Nobody works here, so a wait that is right would last.
  const value = name === 'wait' ? fc.constantFrom('0', '0.001', '-1', '61', 'x') : valueOf(schema);
  const raw = fc.oneof(
    {
      arbitrary: value.map((text) => encodeSafely(typeof text === 'string' ? text : JSON.stringify(text))),
      weight: 8,
    },
    { arbitrary: fc.constantFrom('%00', '%zz', '%ed%a0%80', '%', '+', ''), weight: 1 },
  );
  return raw.map((text) => `${name === 'metadata' ? 'metadata[k]' : name}=${text.slice(0, 2_000)}`);
};

/** Null in so many of ten cases. */
const rarely = <T>(value: fc.Arbitrary<T>, nothing: number): fc.Arbitrary<T | null> =>
  fc.oneof({ arbitrary: fc.constant(null), weight: nothing }, { arbitrary: value, weight: 10 - nothing });

const encodeSafely = (text: string): string => encodeURIComponent(text.toWellFormed());

/** @param examples of bodies that are right */
export function requestTo(
  operation: Operation,
  { ids, examples }: { ids: readonly string[]; examples: readonly unknown[] },
): fc.Arbitrary<FuzzedRequest> {
  const id = fc.oneof(
    { arbitrary: fc.constantFrom(...ids), weight: 6 },
    { arbitrary: fc.string({ maxLength: 40 }).map(encodeSafely), weight: 2 },
    { arbitrary: fc.constantFrom('%00', '%zz', '..', '%2e%2e', '*', 'x'.repeat(300)), weight: 1 },
  );
  const query = operation.parameters.filter((parameter) => parameter.in === 'query').map(queryOf);
  const asked = fc.tuple(
    ...query.map((one) => rarely(one, 7)),
    rarely(fc.constantFrom('x=1', '__proto__=1', '&', '='), 9),
  );
  const type = fc.oneof(
    { arbitrary: fc.constant('application/json'), weight: 12 },
    {
      arbitrary: fc.constantFrom(
        'text/plain',
        'application/json; charset=utf-16',
        'multipart/form-data; boundary=x',
        'x',
      ),
      weight: 1,
    },
  );
  return fc
    .record({
      ids: fc.array(id, { minLength: 3, maxLength: 3 }),
      asked,
      type,
      headers: fc.tuple(
        ...Object.entries(HEADERS).map(([name, value]) => rarely(fc.tuple(fc.constant(name), value), 8)),
      ),
      body: operation.body
        ? bodyOf(operation.body, examples)
        : rarely(fc.constantFrom('', '{}', '{"a":1}', 'x'), 7),
    })
    .map(({ ids, asked, type, headers, body }) => {
      let next = 0;
      const path = operation.path.replaceAll(/\{\w+\}/g, () => ids[next++ % 3] as string);
      const question = asked.filter((part) => part !== null).join('&');
      const own = Object.fromEntries(
        headers.filter((header) => header !== null && sendable(header[1])) as [string, string][],
      );
      return {
        path: question === '' ? path : `${path}?${question}`,
        headers: body === null ? own : { ...own, 'content-type': type },
        body,
      };
    });
}
