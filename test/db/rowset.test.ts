// What lists carry arrives as it was, whatever is in it.
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
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
  flag: boolean | null;
  at: Date | null;
  bytes: Uint8Array | null;
}

it('carries every value of every type, and null', async () => {
  const rows = TEXTS.map((text, i): Row =>
    i % 5 === 4
      ? { text, number: null, flag: null, at: null, bytes: null }
      : {
          text,
          number: (-1n) ** BigInt(i) * 2n ** 62n,
          flag: i % 2 === 0,
          at: new Date(Date.UTC(2026, 0, i + 1, 1, 2, 3, 456)),
          bytes: Buffer.from([0, i, 92, 34, 255]),
        },
  );
  const list = rowset<Row>(
    {
      text: ['text', (row) => row.text],
      number: ['bigint', (row) => row.number],
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
  expect(
    back.map(({ text, number, flag, at, bytes }) => ({
      text,
      number: number === null ? null : BigInt(number),
      flag,
      at,
      bytes,
    })),
  ).toEqual(rows);
});

it('is an empty list of an empty list', async () => {
  const list = rowset<string>({ text: ['text', (text) => text] });
  const { rows } = await client.query(`select * from ${list.sql}`, list.values([]));
  expect(rows).toEqual([]);
});
