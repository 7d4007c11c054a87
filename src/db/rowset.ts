// Lists travel to PostgreSQL as one array a column: one statement, one plan, whatever the list's length. The arrays are in
// PostgreSQL's binary format, where nothing has to be quoted and parsed.

interface Values {
  boolean: boolean;
  bytea: Uint8Array;
  bigint: bigint;
  smallint: number;
  integer: number;
  text: string;
  timestamptz: Date;
}

/** How a value looks on the wire: its type's number in pg_type, its length, its bytes. */
interface Wire<T> {
  oid: number;
  bytes(value: T): number;
  write(buffer: Buffer, at: number, value: T): unknown;
}

/** Timestamps are microseconds since then. */
const EPOCH_MS = Date.UTC(2000);

const WIRES: { [T in keyof Values]: Wire<Values[T]> } = {
  boolean: { oid: 16, bytes: () => 1, write: (buffer, at, value) => buffer.writeUInt8(Number(value), at) },
  bytea: {
    oid: 17,
    bytes: ({ byteLength }) => byteLength,
    write: (buffer, at, value) => buffer.set(value, at),
  },
  bigint: { oid: 20, bytes: () => 8, write: (buffer, at, value) => buffer.writeBigInt64BE(value, at) },
  smallint: { oid: 21, bytes: () => 2, write: (buffer, at, value) => buffer.writeInt16BE(whole(value), at) },
  integer: { oid: 23, bytes: () => 4, write: (buffer, at, value) => buffer.writeInt32BE(whole(value), at) },
  text: { oid: 25, bytes: Buffer.byteLength, write: (buffer, at, value) => buffer.write(value, at) },
  timestamptz: {
    oid: 1184,
    bytes: () => 8,
    write: (buffer, at, value) => buffer.writeBigInt64BE(BigInt(value.getTime() - EPOCH_MS) * 1_000n, at),
  },
};

/** Buffer itself would write NaN as 0, and cut off a fraction. */
function whole(value: number): number {
  if (!Number.isInteger(value)) throw new TypeError(`${value} is no integer`);
  return value;
}

type Column<R> = {
  [T in keyof Values]: readonly [type: T, value: (row: R) => Values[T] | null];
}[keyof Values];

export interface Rowset<R> {
  /** `unnest($1::text[], …) as r (id, …)`, to stand in a FROM clause. */
  sql: string;
  names: string[];
  /** One array a column. */
  values(rows: readonly R[]): Buffer[];
}

/** @param first number of the first parameter the rowset uses */
export function rowset<R>(columns: Record<string, Column<R>>, first = 1): Rowset<R> {
  const entries = Object.entries(columns);
  const names = entries.map(([name]) => name);
  const arrays = entries.map(([, [type]], i) => `$${first + i}::${type}[]`);
  return {
    sql: `unnest(${arrays.join(', ')}) as r (${names.join(', ')})`,
    names,
    values: (rows) =>
      entries.map(([, [type, value]]) =>
        encodeArray(WIRES[type] as Wire<unknown>, rows.map(value as (row: R) => unknown)),
      ),
  };
}

const HEAD_BYTES = 20;
const NULL = -1;

/** An array of one dimension as array_recv reads it: its head, then each element's length and bytes. */
function encodeArray<T>({ oid, bytes, write }: Wire<T>, values: readonly (T | null)[]): Buffer {
  // What is forgotten must not become a 0.
  if (values.includes(undefined as T)) throw new TypeError('a value is undefined where only null is none');
  const lengths = values.map((value) => (value === null ? NULL : bytes(value)));
  const buffer = Buffer.allocUnsafe(
    lengths.reduce((sum, length) => sum + 4 + Math.max(length, 0), HEAD_BYTES),
  );
  const head = [1, Number(lengths.includes(NULL)), oid, values.length, 1];
  for (const [i, number] of head.entries()) buffer.writeInt32BE(number, i * 4);
  let at = HEAD_BYTES;
  for (const [i, value] of values.entries()) {
    const length = lengths[i] as number;
    at = buffer.writeInt32BE(length, at);
    if (value === null) continue;
    write(buffer, at, value);
    at += length;
  }
  return buffer;
}

/** `insert into <table> (…) select … from unnest(…)`: what most lists are written with. */
export function inserter<R>(
  table: string,
  columns: Record<string, Column<R>>,
): { text: string; values(rows: readonly R[]): Buffer[] } {
  const rows = rowset(columns);
  const names = rows.names.join(', ');
  return { text: `insert into ${table} (${names}) select ${names} from ${rows.sql}`, values: rows.values };
}
