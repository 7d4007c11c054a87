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
    { max, inFlight, lane: ({ of }) => of, weight: ({ weight = 1 }) => weight, patienceMs: 1_000 },
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

  /** Lists with an item of `bad` meet a lock until `letGo`. */
  function locked({ patienceMs }: { patienceMs: number }) {
    let held = true;
    const lists: string[][] = [];
    const add = groupCommit(
      async (items: Item[]) => {
        lists.push(items.map(({ of, n }) => `${of}${n}`));
        await turn();
        if (held && items.some(({ of }) => of === 'bad'))
          throw Object.assign(new Error('locked'), { code: '55P03' });
        return items.map(({ n }) => n);
      },
      {
        max: 4,
        inFlight: 1,
        lane: ({ of }) => of,
        patienceMs,
        refuse: { most: 8, with: () => new Error('too long') },
      },
    );
    return { lists, add, letGo: () => (held = false) };
  }

  it('sets a lane aside whose rows somebody holds, and takes it in again once it got through', async () => {
    const { lists, add, letGo } = locked({ patienceMs: 60_000 });
    const bad = items('bad', 3).map(add);
    expect(await Promise.all([...items('good', 1), ...items('fine', 2)].map(add))).toEqual([0, 0, 1]);
    bad.push(add({ of: 'bad', n: 3 }), add({ of: 'bad', n: 4 }));
    expect(await add({ of: 'good', n: 1 })).toBe(1);
    // Only the first list was a mixed one.
    const mixed = lists.filter((list) => new Set(list.map((name) => name.startsWith('bad'))).size === 2);
    expect(mixed).toEqual([lists[0]]);
    letGo();
    expect(await Promise.all(bad)).toEqual([0, 1, 2, 3, 4]);
    expect(lists.slice(-2)).toEqual([['bad0', 'bad1', 'bad2', 'bad3'], ['bad4']]);
    await turn();
    await Promise.all([add({ of: 'bad', n: 5 }), add({ of: 'good', n: 2 })]);
    expect(lists.at(-1)).toEqual(['bad5', 'good2']);
  });

  it('refuses what has waited too long for a lock, and what is too much to wait', async () => {
    const { add } = locked({ patienceMs: 300 });
    const bad = items('bad', 10).map((item) => add(item).catch((error: Error) => error.message));
    expect(await Promise.all(bad)).toEqual(items('bad', 10).map(() => 'too long'));
    expect(await add({ of: 'good', n: 0 })).toBe(0);
  });
});
