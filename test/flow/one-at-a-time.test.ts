import { expect, it } from 'vitest';
import { oneAtATime } from '../../src/flow/one-at-a-time.ts';

/** Work that ends when it is told to. */
function slowWork() {
  const begun: { query: string; end(answer: string): void; fail(error: Error): void }[] = [];
  const ask = oneAtATime((query: string) => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    begun.push({ query, end: resolve, fail: reject });
    return promise;
  });
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  return { begun, ask, turn };
}

it('does what is asked for again while it is under way once, and other things after it', async () => {
  const { begun, ask, turn } = slowWork();
  const first = ask('a');
  await turn();
  const [again, other, otherAgain] = [ask('a'), ask('b'), ask('b')];
  await turn();
  expect(begun.map(({ query }) => query)).toEqual(['a']);
  begun[0]?.end('a!');
  expect(await Promise.all([first, again])).toEqual(['a!', 'a!']);
  await turn();
  expect(begun.map(({ query }) => query)).toEqual(['a', 'b']);
  begun[1]?.end('b!');
  expect(await Promise.all([other, otherAgain])).toEqual(['b!', 'b!']);
});

it('begins anew once it is done', async () => {
  const { begun, ask, turn } = slowWork();
  const first = ask('a');
  await turn();
  begun[0]?.end('old');
  expect(await first).toBe('old');
  const second = ask('a');
  await turn();
  begun[1]?.end('new');
  expect(await second).toBe('new');
});

it('goes on after a failure, which is all of theirs who asked for that', async () => {
  const { begun, ask, turn } = slowWork();
  const both = Promise.allSettled([ask('a'), ask('a')]);
  const other = ask('b');
  await turn();
  begun[0]?.fail(new Error('away'));
  expect((await both).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  await turn();
  begun[1]?.end('b!');
  expect(await other).toBe('b!');
});
