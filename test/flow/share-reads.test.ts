import { expect, it } from 'vitest';
import { shareReads } from '../../src/flow/share-reads.ts';

/** Reads that end when they are told to. */
function slowReads() {
  const begun: { query: string; end(answer: string): void; fail(error: Error): void }[] = [];
  const read = shareReads((query: string) => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    begun.push({ query, end: resolve, fail: reject });
    return promise;
  });
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  return { begun, read, turn };
}

it('reads once for all who ask at the same moment, and for each what he asked', async () => {
  const { begun, read, turn } = slowReads();
  const answers = [read('a', 'a'), read('b', 'b'), read('a', 'a')];
  await turn();
  expect(begun.map(({ query }) => query)).toEqual(['a', 'b']);
  for (const { query, end } of begun) end(`${query}!`);
  expect(await Promise.all(answers)).toEqual(['a!', 'b!', 'a!']);
});

it('joins nobody to a read that has begun: it may not see what the newcomer was woken for', async () => {
  const { begun, read, turn } = slowReads();
  const first = read('a', 'a');
  await turn();
  const second = read('a', 'a');
  await turn();
  expect(begun.length).toBe(2);
  begun[0]?.end('old');
  begun[1]?.end('new');
  expect(await Promise.all([first, second])).toEqual(['old', 'new']);
});

it('fails for all alike, and forgets it', async () => {
  const { begun, read, turn } = slowReads();
  const both = Promise.allSettled([read('a', 'a'), read('a', 'a')]);
  await turn();
  begun[0]?.fail(new Error('away'));
  expect((await both).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  const next = read('a', 'a');
  await turn();
  begun[1]?.end('back');
  expect(await next).toBe('back');
});
