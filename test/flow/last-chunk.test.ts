// Whoever cancels a stream at its last chunk has read it, and pays for it.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { chat, type Json } from '../support/client.ts';
import type { SseEvent } from '../support/sse.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';

const STREAMS = 36;
const AT_ONCE = 12;
const STOPPED_AT_LEAST = 6;

let millrace: TestPlatform;
let account: TestAccount;
beforeAll(async () => {
  millrace = await startPlatform({ env: { SWEEP_MS: '100' } });
  account = await millrace.account({ plan: 'scale' });
});
afterAll(() => millrace.stop());

const asked = (latency_ms: number, rest: Record<string, unknown> = {}) =>
  chat('Say as much as you can', { sim: { latency_ms }, ...rest });
const deltasIn = (events: readonly SseEvent[]) => events.filter(({ event }) => event === 'job.delta');
/** All that a subscriber read, of every choice. */
const textIn = (events: readonly SseEvent[]): string =>
  deltasIn(events)
    .map(({ data }) => (JSON.parse(data) as Json).delta.content ?? '')
    .join('');
const promptTokens = (job: Json): number =>
  Math.ceil(Buffer.byteLength(JSON.stringify(job.input.messages)) / 4);

interface Canceled {
  job: Json;
  events: SseEvent[];
  status: number;
}

/** Reads a stream to its end, and cancels it once `at` deltas were seen. */
async function cancelAt(at: number, job: Record<string, unknown>): Promise<Canceled> {
  const { id } = await account.submit(job);
  let seen = 0;
  let cancel: Promise<{ status: number }> | null = null;
  const events = await account.events(`/v1/jobs/${id}/events`, {
    until: ({ event }) => {
      if (event === 'job.delta' && ++seen === at) cancel = account.post(`/v1/jobs/${id}/cancel`);
      return false;
    },
  });
  const { status } = await (cancel ?? Promise.resolve({ status: 0 }));
  return { job: await account.ended(id), events, status };
}

it('is never free, wherever near its end the cancel falls', { timeout: 120_000 }, async () => {
  const whole = await cancelAt(Number.POSITIVE_INFINITY, asked(500));
  expect(whole.job.status).toBe('succeeded');
  const last = deltasIn(whole.events).length;
  expect(last).toBeGreaterThan(10);

  const check = ({ job, events, status }: Canceled): void => {
    const read = textIn(events);
    expect(read.length).toBeGreaterThan(0);
    expect(job.output.text).toBe(read);
    // The last event of the stream agrees with the job.
    expect(JSON.parse(events.at(-1)!.data).data).toMatchObject({ status: job.status, cost: job.cost });
    if (job.status === 'canceled') {
      expect(status).toBe(200);
      // The vendor's own word counts if it came before the stop; else every byte that was read.
      const owed = promptTokens(job) + 4 * Math.ceil(Buffer.byteLength(read) / 4);
      expect([owed, whole.job.cost.credits]).toContain(job.cost.credits);
    } else {
      expect(job).toMatchObject({ status: 'succeeded', cost: whole.job.cost, usage: whole.job.usage });
    }
    expect(job.cost.credits).toBeGreaterThan(0);
    expect(job.cost.credits).toBeLessThanOrEqual(job.hold.credits);
  };

  // On a busy machine words are seen long after they were said, and a stream may end before its cancel is heard: the next
  // ones speak more slowly, until enough were stopped to prove something.
  let stopped = 0;
  let latency = 750;
  for (let done = 0; done < STREAMS || stopped < STOPPED_AT_LEAST; done += AT_ONCE) {
    const streams = await Promise.all(
      Array.from({ length: AT_ONCE }, (_, i) =>
        // Half of them within the last three deltas, the others anywhere in the last half.
        cancelAt(i % 2 === 0 ? last - (i % 3) : Math.ceil(last * (1 - Math.random() / 2)), asked(latency)),
      ),
    );
    for (const stream of streams) check(stream);
    const canceled = streams.filter(({ job }) => job.status === 'canceled').length;
    stopped += canceled;
    if (canceled < STOPPED_AT_LEAST / 2) latency *= 2;
  }
  const { body } = await millrace.admin.get('/v1/admin/invariants');
  expect(body).toMatchObject({ ok: true, breaches: [] });
});

it('costs what all its choices said, not the first alone', async () => {
  const { job, events } = await cancelAt(12, asked(6_000, { n: 3 }));
  expect(job.status).toBe('canceled');
  const read = textIn(events);
  expect(Buffer.byteLength(job.output.text)).toBeLessThan(Buffer.byteLength(read) / 2);
  expect(job.cost.credits).toBe(promptTokens(job) + 4 * Math.ceil(Buffer.byteLength(read) / 4));
});
