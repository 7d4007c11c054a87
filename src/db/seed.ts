import { readFile } from 'node:fs/promises';
import type { Db } from './pool.ts';

const TABLES = ['plans', 'models', 'routes', 'prices'] as const;

/**
 * Inserts the rows that Millrace comes with (prisma/seed.json) where they are missing. Rows that are there stay as they
 * are, since an operator may have changed them.
 */
export async function seed(db: Db): Promise<void> {
  const file = new URL('../../prisma/seed.json', import.meta.url);
  const rows = JSON.parse(await readFile(file, 'utf8')) as Record<
    (typeof TABLES)[number],
    Record<string, unknown>[]
  >;
  for (const table of TABLES) {
    const columns = [...new Set(rows[table].flatMap((row) => Object.keys(row)))].join(', ');
    await db.query(
      `insert into ${table} (${columns}) select ${columns} from json_populate_recordset(null::${table}, $1) on conflict (id) do nothing`,
      [JSON.stringify(rows[table])],
    );
  }
}
