// How an audit keeps its statements small. Entries and events are numbered without gaps, so a span of numbers says
// beforehand how many rows it is.

/** An account's numbers after `after`, up to and with `upto`. */
export interface Span {
  accountId: string;
  after: bigint;
  upto: bigint;
}

/** Below every number, so that a row numbered 0 or less is seen as well. */
export const BOTTOM = -(2n ** 63n);

const ROWS = 10_000n;

/** Lists of spans, each of so many rows together and with an account at most once; a long one is cut. */
export function* packs(spans: readonly Span[]): Generator<Span[]> {
  let pack: Span[] = [];
  let room = ROWS;
  for (const { accountId, after, upto } of spans) {
    for (let from = after; from < upto;) {
      const first = from === BOTTOM ? 0n : from;
      const to = upto - first > room ? first + room : upto;
      pack.push({ accountId, after: from, upto: to });
      room -= to > first ? to - first : 0n;
      from = to;
      if (room > 0n) continue;
      yield pack;
      pack = [];
      room = ROWS;
    }
  }
  if (pack.length > 0) yield pack;
}

/** Lists of items of so much together; one that alone is more stands alone. */
export function* portions<T>(items: readonly T[], sizeOf: (item: T) => number, most: number): Generator<T[]> {
  let portion: T[] = [];
  let size = 0;
  for (const item of items) {
    const more = sizeOf(item);
    if (portion.length > 0 && size + more > most) {
      yield portion;
      portion = [];
      size = 0;
    }
    portion.push(item);
    size += more;
  }
  if (portion.length > 0) yield portion;
}
