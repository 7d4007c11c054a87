// JSON.parse that keeps numbers which a double cannot hold, so that they are written again as they were read.

/** What V8 has and TypeScript's library does not name yet. */
interface RawJson {
  rawJSON(text: string): object;
  isRawJSON(value: unknown): boolean;
}
type Reviver = (this: unknown, key: string, value: unknown, context: { source?: string }) => unknown;

const raw = JSON as unknown as RawJson;

/** Fewer digits than these are always held exactly. */
const LONG_NUMBER = /\d{16}/;

const keepNumber: Reviver = (_key, value, { source }) =>
  typeof value === 'number' && source !== undefined && !sameNumber(source, value)
    ? raw.rawJSON(source)
    : value;

/** Whether a double says all that the digits say. Texts such as `1.50` or `2e1` count as different, which does no harm. */
const sameNumber = (source: string, value: number): boolean => String(value) === source;

/** @throws SyntaxError */
export function parseExact(text: string): unknown {
  return LONG_NUMBER.test(text)
    ? JSON.parse(text, keepNumber as Parameters<typeof JSON.parse>[1])
    : JSON.parse(text);
}

/** True for objects and arrays, false for a number that was kept as text. */
export const isContainer = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !raw.isRawJSON(value);
