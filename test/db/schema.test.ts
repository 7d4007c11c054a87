// Schema, SQL and client say the same: prisma/schema.prisma is held to a migrated database, column by column, and the
// generated client to schema.prisma, without Prisma's CLI.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { shareTestPostgres } from '../support/postgres.ts';

const ROOT = join(import.meta.dirname, '../..');
const schema = readFileSync(join(ROOT, 'prisma/schema.prisma'), 'utf8');

/** Prisma's scalar types as information_schema names them. */
const SQL_TYPES: Record<string, string> = {
  String: 'text',
  Boolean: 'boolean',
  Int: 'integer',
  'Int @db.SmallInt': 'smallint',
  BigInt: 'bigint',
  Bytes: 'bytea',
  Json: 'jsonb',
  'DateTime @db.Timestamptz': 'timestamp with time zone',
  'String[]': 'ARRAY',
  'Unsupported("interval")': 'interval',
};

function columnsOfSchema(): string[] {
  const models = [...schema.matchAll(/^model (\w+) \{\n([^]*?)^\}/gm)];
  const names = new Set(models.map(([, name]) => name));
  return models.flatMap(([, model, body]) =>
    (body as string).split('\n').flatMap((line) => {
      const match = /^ {2}(\w+) +(\w+(?:\("\w+"\))?)(\[\])?(\?)?(.*)$/.exec(line);
      if (!match) return [];
      const [, name, type, list = '', optional = '', rest = ''] = match as unknown as [
        string,
        string,
        string,
        string,
        string,
        string,
      ];
      if (names.has(type)) return [];
      const native = /@db\.(\w+)/.exec(rest)?.[1];
      const full = `${type}${list}${native && native !== 'Text' ? ` @db.${native}` : ''}`;
      return [`${model}.${name} ${SQL_TYPES[full] ?? `? ${full}`}${optional ? ' null' : ''}`];
    }),
  );
}

describe('prisma/schema.prisma', () => {
  let client: pg.Client;
  beforeAll(async () => {
    const postgres = await shareTestPostgres(inject('postgresFolder'));
    const url = await postgres.createDatabase(inject('template'));
    client = new pg.Client({ connectionString: url });
    await client.connect();
  });
  afterAll(() => client.end());

  it('has every table and column of the migrated database, with its type, and no other', async () => {
    const { rows } = await client.query<{ line: string }>(`
      select c.table_name || '.' || c.column_name || ' ' || c.data_type || case when c.is_nullable = 'YES' then ' null' else '' end as line
      from information_schema.columns c join pg_class t on t.relname = c.table_name and t.relnamespace = 'public'::regnamespace
      where c.table_schema = 'public' and t.relkind in ('r', 'p') and not t.relispartition and c.table_name <> '_prisma_migrations'`);
    expect(columnsOfSchema().toSorted()).toEqual(rows.map((row) => row.line).toSorted());
  });

  it('is what the client was generated from', () => {
    const code = readFileSync(join(ROOT, 'src/db/generated/internal/class.ts'), 'utf8');
    const inline = /"inlineSchema": ("(?:[^"\\]|\\.)*")/.exec(code)?.[1] ?? '""';
    expect(JSON.parse(inline)).toBe(schema);
  });
});
