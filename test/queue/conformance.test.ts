// What Millrace asks of a queue, on each that it is run with. Little: see src/queue/queue.ts.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Bell, type Kind, KINDS } from '../../src/domain/job.ts';
import type { Message, Queue } from '../../src/queue/queue.ts';
import { eventually } from '../support/eventually.ts';
import { openStand, type Stand, STANDS, type StandName } from '../support/queue-stands.ts';

let bells = 0;
const bell = (kind: Kind, slot = 1): Bell => ({
  kind,
  accountId: 'acc_1',
  jobId: `job_${bells++}`,
  epoch: 0,
  slot,
});
const idOf = ({ jobId }: { jobId: string }): string => jobId;

const until = (is: () => boolean | Promise<boolean>, withinMs = 20_000): Promise<boolean> =>
  eventually(is, { what: String(is), withinMs, everyMs: 10 });

/** One process's hold of a queue, and the ears that tests put to it. */
async function listenAt(name: StandName) {
  const stand = await openStand(name);
  const queue = await stand.connect();
  return {
    stand,
    queue,
    /** Hears messages of a kind, with a handler that may wait. */
    async hear(
      kind: Kind,
      { concurrency = 1, handle }: { concurrency?: number; handle?(message: Message): Promise<void> } = {},
    ) {
      const heard: Message[] = [];
      const consumer = await queue.consume(kind, {
        concurrency,
        async handle(message) {
          heard.push(message);
          await handle?.(message);
        },
      });
      return { heard, ids: () => heard.map(idOf), ...consumer };
    },
    drained: (kind: Kind) =>
      until(async () => (await queue.depth(kind)) === 0 && (await stand.tells(kind)) === 0),
    async close() {
      await queue.close();
      await stand.close();
    },
  };
}

describe.each(STANDS)('the queue on %s', (name) => {
  let stand: Stand;
  let queue: Queue;
  let post: Awaited<ReturnType<typeof listenAt>>;
  const hear: typeof post.hear = (...words) => post.hear(...words);
  const drained = (kind: Kind) => post.drained(kind);
  beforeAll(async () => {
    post = await listenAt(name);
    ({ stand, queue } = post);
  });
  afterAll(() => post.close());

  it('is the one it says it is', async () => {
    expect(queue.backend).toBe(name);
    const sign = { postgres: /^PostgreSQL 18/, redis: /redis_version:/, memory: /^memory$/ }[name];
    expect(await stand.identity()).toMatch(sign);
    await queue.ring([bell('tts'), bell('tts'), bell('stt')]);
    expect(await stand.tells('tts')).toBe(2);
    expect(await stand.tells('stt')).toBe(1);
    await queue.ping();
    const consumers = await Promise.all([hear('tts'), hear('stt')]);
    await Promise.all([drained('tts'), drained('stt')]);
    await Promise.all(consumers.map((consumer) => consumer.close()));
  });

  it('brings every message once to the consumers of its kind', async () => {
    const all = KINDS.flatMap((kind) => Array.from({ length: 50 }, (_, i) => bell(kind, 1 + (i % 7))));
    const consumers = await Promise.all(
      KINDS.flatMap((kind) => [hear(kind, { concurrency: 4 }), hear(kind, { concurrency: 4 })]),
    );
    await Promise.all([queue.ring(all.slice(0, 90)), queue.ring(all.slice(90))]);
    await until(() => consumers.reduce((sum, { heard }) => sum + heard.length, 0) >= all.length);
    await Promise.all(KINDS.map(drained));
    const heard = consumers.flatMap((consumer) => consumer.heard);
    expect(heard.map(idOf).toSorted()).toEqual(all.map(idOf).toSorted());
    expect(heard[0]).toEqual({ accountId: 'acc_1', jobId: heard[0]?.jobId, epoch: 0 });
    await Promise.all(consumers.map((consumer) => consumer.close()));
  });

  it('hears lower slots first, and of one slot who came first', async () => {
    const all = [5, 1, 3, 1, 100, 2, 3].map((slot) => bell('chat', slot));
    for (const one of all) await queue.ring([one]);
    const consumer = await hear('chat');
    await drained('chat');
    expect(consumer.ids()).toEqual(all.toSorted((a, b) => a.slot - b.slot).map(idOf));
    await consumer.close();
  });

  it('takes a bell once while it waits, and again once it was heard', async () => {
    const one = bell('chat');
    for (let i = 0; i < 5; i++) await queue.ring([one, one]);
    expect(await queue.depth('chat')).toBe(1);
    const consumer = await hear('chat');
    await drained('chat');
    expect(consumer.ids()).toEqual([one.jobId]);
    await queue.ring([one]);
    await drained('chat');
    expect(consumer.ids()).toEqual([one.jobId, one.jobId]);
    await consumer.close();
  });

  it('moves a waiting message to a lower slot', async () => {
    const [high, other, gone] = [bell('chat', 50), bell('chat', 10), bell('chat', 40)];
    await queue.ring([high, other]);
    // `gone` has no message that could be moved: it gets one.
    await queue.ring([
      { ...high, slot: 2, repeat: 'moved' },
      { ...gone, slot: 1, repeat: 'moved' },
    ]);
    const consumer = await hear('chat');
    await drained('chat');
    expect(consumer.ids()).toEqual([gone, high, other].map(idOf));
    await consumer.close();
  });

  it('has as many hands as were asked for, and tells what waits and what is handled', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    await queue.ring(Array.from({ length: 7 }, () => bell('image')));
    const consumer = await hear('image', { concurrency: 3, handle: () => promise });
    await until(() => consumer.heard.length === 3);
    // Nothing more can come; what would come wrongly has the time of two round trips to do so.
    expect(await queue.depth('image')).toBe(7);
    expect(await queue.depth('image')).toBe(7);
    expect(consumer.heard).toHaveLength(3);
    resolve();
    await drained('image');
    expect(consumer.heard).toHaveLength(7);
    await consumer.close();
  });

  it('takes nothing after it was told to stop, not even what was on its way, and finishes what it has', async () => {
    for (let round = 0; round < 8; round++) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const first = await hear('chat', { concurrency: 4, handle: () => promise });
      const [before, after] = [bell('chat'), bell('chat')];
      await queue.ring([before]);
      await until(() => first.heard.length === 1);
      // It has free hands and so is waiting for a message at this moment.
      await first.stopTaking();
      await queue.ring([after]);
      const second = await hear('chat');
      await until(() => second.heard.length === 1);
      expect(second.ids()).toEqual([after.jobId]);
      resolve();
      await drained('chat');
      expect(first.ids()).toEqual([before.jobId]);
      await Promise.all([first.close(), second.close()]);
    }
  });

  it('rings a late job under another name, since whoever holds the first may never let go', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const holding = await hear('image', { handle: () => promise });
    const one = bell('image');
    await queue.ring([one]);
    await until(() => holding.heard.length === 1);
    const other = await hear('image');
    await queue.ring([one]);
    expect(await queue.depth('image')).toBe(1);
    await queue.ring([{ ...one, repeat: 'late' }]);
    await until(() => other.heard.length === 1);
    expect(other.heard).toEqual(holding.heard);
    resolve();
    await drained('image');
    await Promise.all([holding.close(), other.close()]);
  });
});

// These wait for BullMQ's lock of five seconds to lapse, so the three queues wait together.
describe.concurrent.each(STANDS)('a message in hand on %s', (name) => {
  it('leaves a message alone for as long as its handler takes', async () => {
    const { queue, stand, hear, close } = await listenAt(name);
    const [one, other] = await Promise.all(
      [1, 2].map(() => hear('tts', { concurrency: 2, handle: () => sleep(7_500) })),
    );
    await queue.ring([bell('tts'), bell('tts'), bell('tts')]);
    await until(async () => (await stand.tells('tts')) === 0, 30_000);
    expect(new Set([...one!.ids(), ...other!.ids()]).size).toBe(3);
    expect(one!.heard.length + other!.heard.length).toBe(3);
    await close();
  });

  it('brings back what a consumer held that was closed, and what a process held that was killed', async () => {
    const { queue, stand, hear, close } = await listenAt(name);
    const holders = await Promise.all([stand.holder('stt'), stand.holder('image')]);
    const closing = await stand.connect();
    const { promise, resolve } = Promise.withResolvers<string>();
    await closing.consume('chat', {
      concurrency: 1,
      handle: ({ jobId }) => (resolve(jobId), new Promise(() => {})),
    });
    const all = [bell('stt'), bell('image'), bell('chat')];
    await queue.ring(all);
    const held = await Promise.all([...holders.map((holder) => holder.taken), promise]);
    expect(held).toEqual(all.map(idOf));
    await Promise.all([...holders.map((holder) => holder.die()), closing.close()]);
    const heirs = await Promise.all((['stt', 'image', 'chat'] as const).map((kind) => hear(kind)));
    await until(() => heirs.every((heir) => heir.heard.length === 1), 30_000);
    expect(heirs.flatMap((heir) => heir.ids())).toEqual(held);
    await close();
  });
});
