// What lists carry arrives as it was, whatever is in it.
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { rowset } from '../../src/db/rowset.ts';
import { shareTestPostgres } from '../support/postgres.ts';

let client: pg.Client;
beforeAll(async () => {
  const postgres = await shareTestPostgres(inject('postgresFolder'));
  client = new pg.Client({ connectionString: await postgres.createDatabase(inject('template')) });
  await client.connect();
});
afterAll(() => client.end());

const TEXTS = [
  '',
  ' ',
  'NULL',
  'null',
  '"',
  '\\',
  '\\"',
  '{}',
  '{a,b}',
  ',',
  "'",
  '\n\t\r\b',
  '\u{1F600}',
  '\u0001',
  'é',
  '$1',
  null,
];

interface Row {
  text: string | null;
  number: bigint | null;
  integer: number | null;
  smallint: number | null;
  flag: boolean | null;
  at: Date | null;
  bytes: Uint8Array | null;
}

it('carries every value of every type, and null', async () => {
  const rows = TEXTS.map((text, i): Row =>
    i % 5 === 4
      ? { text, number: null, integer: null, smallint: null, flag: null, at: null, bytes: null }
      : {
          text,
          number: (-1n) ** BigInt(i) * 2n ** 62n,
          integer: (-1) ** i * (2 ** 31 - 1),
          smallint: (-1) ** i * (2 ** 15 - 1),
          flag: i % 2 === 0,
          at: new Date(Date.UTC(2026, 0, i + 1, 1, 2, 3, 456)),
          bytes: Buffer.from([0, i, 92, 34, 255]),
        },
  );
  const list = rowset<Row>(
    {
      text: ['text', (row) => row.text],
      number: ['bigint', (row) => row.number],
      integer: ['integer', (row) => row.integer],
      smallint: ['smallint', (row) => row.smallint],
      flag: ['boolean', (row) => row.flag],
      at: ['timestamptz', (row) => row.at],
      bytes: ['bytea', (row) => row.bytes],
    },
    2,
  );
  const { rows: back } = await client.query<Row>(`select $1::text as first, r.* from ${list.sql}`, [
    'x',
    ...list.values(rows),
  ]);
  const read = back.map(({ number, ...rest }) => ({
    ...rest,
    number: number === null ? null : BigInt(number),
  }));
  expect(read).toEqual(rows.map((row) => ({ first: 'x', ...row })));
});

it('is an empty list of an empty list', async () => {
  const list = rowset<string>({ text: ['text', (text) => text] });
  const { rows } = await client.query(`select * from ${list.sql}`, list.values([]));
  expect(rows).toEqual([]);
});

describe.each(['integer', 'smallint'] as const)('%s', (type) => {
  const list = rowset<number>({ n: [type, (n) => n] });

  it.each([Number.NaN, 1.9, Number.POSITIVE_INFINITY, 2 ** 31, undefined as unknown as number])(
    'refuses %d, as PostgreSQL would, and writes no other number for it',
    (n) => expect(() => list.values([1, n])).toThrow(),
  );
});

it.each(['boolean', 'text', 'bigint', 'timestamptz', 'bytea'] as const)(
  'refuses a %s that is undefined',
  (type) => {
    const list = rowset<undefined>({ value: [type, () => undefined as never] });
    expect(() => list.values([undefined])).toThrow();
  },
);
