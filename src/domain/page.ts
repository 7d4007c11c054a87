// Lists turn both ways (contract 3): `after` a cursor on, or the page that ends just `before` one.

export interface Turn<Cursor> {
  after: Cursor | null;
  before: Cursor | null;
  ascending: boolean;
  limit: number;
}

export interface Page<Row> {
  /** In the list's order, whichever way the page was turned. */
  rows: Row[];
  /** Whether there is more in the direction of the turn: after the page, or (by `before` alone) before it. */
  hasMore: boolean;
  /** After which row the list goes on; null if this is its end. What was found before a cursor goes on to that cursor. */
  next: Row | null;
}

/**
 * The page asked for. The one before a cursor is the one after it in the opposite order, turned round; with both cursors
 * the page begins after the one and goes no further than the other.
 * @param read answers the first `limit` rows between the cursors, which are not among them
 */
export async function turnPage<Row, Cursor>(
  { after, before, ascending, limit }: Turn<Cursor>,
  read: (turn: Turn<Cursor>) => Promise<Row[]>,
): Promise<Page<Row>> {
  // One more than is shown tells whether there are more.
  const more = limit + 1;
  const back = after === null && before !== null;
  const found = back
    ? await read({ after: before, before: null, ascending: !ascending, limit: more })
    : await read({ after, before, ascending, limit: more });
  const hasMore = found.length > limit;
  const rows = found.slice(0, limit);
  if (back) rows.reverse();
  return { rows, hasMore, next: back || hasMore ? (rows.at(-1) ?? null) : null };
}
