// Lists travel to PostgreSQL as one array a column: one statement, one plan, whatever the list's length.

const TEXTS = {
  boolean: String,
  smallint: String,
  integer: String,
  bigint: String,
  text: (value) => `"${String(value).replace(/["\\]/g, '\\$&')}"`,
  timestamptz: (value) => (value as Date).toISOString(),
  bytea: (value) => `"\\\\x${hex(value as Uint8Array)}"`,
} satisfies Record<string, (value: unknown) => string>;

const hex = ({ buffer, byteOffset, byteLength }: Uint8Array): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString('hex');

type Columns<R> = Record<string, readonly [type: keyof typeof TEXTS, value: (row: R) => unknown]>;

export interface Rowset<R> {
  /** `unnest($1::text[], …) as r (id, …)`, to stand in a FROM clause. */
  sql: string;
  names: string[];
  /** One array literal a column. */
  values(rows: readonly R[]): string[];
}

/** @param first number of the first parameter the rowset uses */
export function rowset<R>(columns: Columns<R>, first = 1): Rowset<R> {
  const entries = Object.entries(columns);
  const names = entries.map(([name]) => name);
  const arrays = entries.map(([, [type]], i) => `$${first + i}::${type}[]`);
  return {
    sql: `unnest(${arrays.join(', ')}) as r (${names.join(', ')})`,
    names,
    values: (rows) => entries.map(([, [type, value]]) => arrayText(type, rows.map(value))),
  };
}

/** As PostgreSQL reads arrays. Written here since it is most of what a busy process says, and pg's own way is for any type. */
function arrayText(type: keyof typeof TEXTS, values: readonly unknown[]): string {
  const text: (value: unknown) => string = TEXTS[type];
  return `{${values.map((value) => (value === null || value === undefined ? 'NULL' : text(value))).join(',')}}`;
}

/** `insert into <table> (…) select … from unnest(…)`: what most lists are written with. */
export function inserter<R>(
  table: string,
  columns: Columns<R>,
): { text: string; values(rows: readonly R[]): string[] } {
  const rows = rowset(columns);
  const names = rows.names.join(', ');
  return { text: `insert into ${table} (${names}) select ${names} from ${rows.sql}`, values: rows.values };
}
