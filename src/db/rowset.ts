// Lists travel to PostgreSQL as one array a column: one statement, one plan, whatever the list's length.

type Columns<R> = Record<string, readonly [type: string, value: (row: R) => unknown]>;

export interface Rowset<R> {
  /** `unnest($1::text[], …) as r (id, …)`, to stand in a FROM clause. */
  sql: string;
  names: string[];
  values(rows: readonly R[]): unknown[][];
}

/** @param first number of the first parameter the rowset uses */
export function rowset<R>(columns: Columns<R>, first = 1): Rowset<R> {
  const entries = Object.entries(columns);
  const names = entries.map(([name]) => name);
  const arrays = entries.map(([, [type]], i) => `$${first + i}::${type}[]`);
  return {
    sql: `unnest(${arrays.join(', ')}) as r (${names.join(', ')})`,
    names,
    values: (rows) => entries.map(([, [, value]]) => rows.map(value)),
  };
}

/** `insert into <table> (…) select … from unnest(…)`: what most lists are written with. */
export function inserter<R>(
  table: string,
  columns: Columns<R>,
): { text: string; values(rows: readonly R[]): unknown[][] } {
  const rows = rowset(columns);
  const names = rows.names.join(', ');
  return { text: `insert into ${table} (${names}) select ${names} from ${rows.sql}`, values: rows.values };
}
