import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { groupCommit } from '../../src/db/group-commit.ts';

interface Item {
  of: string;
  n: number;
  weight?: number;
}

/** Lists are held back until `go`, so that what waits is what the test put there. */
function gathered({ inFlight = 1, max = 10 } = {}) {
  const lists: string[][] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const add = groupCommit(
    async (items: Item[]) => {
      lists.push(items.map(({ of, n }) => `${of}${n}`));
      await promise;
      return items.map(({ n }) => n);
    },
    { max, inFlight, lane: ({ of }) => of, weight: ({ weight = 1 }) => weight },
  );
  return { lists, add, go: resolve };
}

const items = (of: string, count: number, weight = 1): Item[] =>
  Array.from({ length: count }, (_, n) => ({ of, n, weight }));

describe('group commit', () => {
  it('fills lists from all lanes in turn, each in its own order', async () => {
    const { lists, add, go } = gathered();
    const first = add({ of: 'x', n: 0 });
    await turn();
    const all = [...items('a', 100), ...items('b', 3), ...items('c', 1)].map(add);
    go();
    expect(await first).toBe(0);
    expect(await Promise.all(all)).toEqual(
      [...items('a', 100), ...items('b', 3), ...items('c', 1)].map(({ n }) => n),
    );
    expect(lists[1]).toEqual(['a0', 'b0', 'c0', 'a1', 'b1', 'a2', 'b2', 'a3', 'a4', 'a5']);
    expect(lists.flat().filter((name) => name.startsWith('a'))).toEqual(
      items('a', 100).map(({ n }) => `a${n}`),
    );
    expect(Math.max(...lists.map((list) => list.length))).toBe(10);
  });

  it('lets a small one pass between the heavy ones of another, each of which goes alone', async () => {
    const { lists, add, go } = gathered();
    void add({ of: 'x', n: 0 });
    await turn();
    const all = [...items('heavy', 3, 1_000), ...items('light', 2)].map(add);
    go();
    await Promise.all(all);
    expect(lists.slice(1)).toEqual([['heavy0'], ['light0', 'light1'], ['heavy1'], ['heavy2']]);
  });

  it('never lets the one before wait for ever behind new ones', async () => {
    const { lists, add, go } = gathered({ max: 2 });
    void add({ of: 'x', n: 0 });
    await turn();
    const waiting = ['a', 'b', 'c', 'd', 'e'].flatMap((of) => items(of, 2).map(add));
    go();
    await Promise.all(waiting);
    expect(lists.slice(1)).toEqual([
      ['a0', 'b0'],
      ['c0', 'd0'],
      ['e0', 'a1'],
      ['b1', 'c1'],
      ['d1', 'e1'],
    ]);
  });
});
