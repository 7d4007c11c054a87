// Where secrets stand that are sealed (flow/seal.ts): bytes 2 to 5 of each name the key that sealed it.
import type { Db } from '../db/pool.ts';

export interface Place {
  table: 'routes' | 'endpoints' | 'operator_requests';
  /** Its primary key. */
  key: string;
  column: string;
  /** What seal() was told it is for, before the colon. */
  owner: 'route' | 'endpoint' | 'request';
}

/** Every column that holds a seal; a test looks for others. */
export const SEALED_PLACES: readonly Place[] = [
  { table: 'routes', key: 'id', column: 'api_key', owner: 'route' },
  { table: 'endpoints', key: 'id', column: 'secret', owner: 'endpoint' },
  { table: 'endpoints', key: 'id', column: 'old_secret', owner: 'endpoint' },
  { table: 'operator_requests', key: 'key', column: 'answer', owner: 'request' },
];

export interface SealedRow {
  key: string;
  sealed: Buffer;
}

/** Those that another key than `keyId` sealed, by their row's key, from `after` on. */
export async function sealedByOthers(
  db: Db,
  { table, key, column }: Place,
  { keyId, after, limit }: { keyId: Buffer; after: string; limit: number },
): Promise<SealedRow[]> {
  const { rows } = await db.query<SealedRow>(
    `select ${key} as key, ${column} as sealed from ${table}
      where ${column} is not null and substring(${column} from 2 for 4) <> $1 and ${key} > $2 order by ${key} limit $3`,
    [keyId, after, limit],
  );
  return rows;
}

/** Only where the row still holds what was read. @returns how many did */
export async function replaceSealed(
  db: Db,
  { table, key, column }: Place,
  rows: readonly (SealedRow & { anew: Buffer })[],
): Promise<number> {
  const { rowCount } = await db.query(
    `update ${table} set ${column} = new.anew
      from unnest($1::text[], $2::bytea[], $3::bytea[]) as new (key, was, anew)
      where ${table}.${key} = new.key and ${column} = new.was`,
    [rows.map(({ key }) => key), rows.map(({ sealed }) => sealed), rows.map(({ anew }) => anew)],
  );
  return rowCount ?? 0;
}

/** How many secrets of that place each key has sealed, by the key's id in hex. */
export async function sealsByKey(db: Db, { table, column }: Place): Promise<Map<string, number>> {
  const { rows } = await db.query<{ id: string; count: number }>(
    `select encode(substring(${column} from 2 for 4), 'hex') as id, count(*)::int as count from ${table}
      where ${column} is not null group by 1`,
  );
  return new Map(rows.map(({ id, count }) => [id, count]));
}

const SETTING = 'seal_keys';

/** Ids, in hex, of the keys by which something may be sealed that is in this database. */
export async function sealKeys(db: Db): Promise<string[]> {
  const { rows } = await db.query<{ value: string }>('select value from settings where name = $1', [SETTING]);
  return rows[0]?.value.split(',') ?? [];
}

/** @param was as it was read. @returns false if it is another by now, and so stays */
export async function setSealKeys(db: Db, was: readonly string[], ids: readonly string[]): Promise<boolean> {
  const { rowCount } = await db.query(
    `insert into settings (name, value) values ($1, $2)
      on conflict (name) do update set value = excluded.value where settings.value = $3`,
    [SETTING, ids.join(','), was.join(',')],
  );
  return rowCount === 1;
}
