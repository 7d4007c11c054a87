// Readers whose connections are cut at random bytes, again and again, while jobs stream, fail half-way and lose their worker:
// each comes back with its last id, and nobody ever misses or repeats anything.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseCursor } from '../../src/domain/cursor.ts';
import { chat, type Json } from '../support/client.ts';
import { type Followed, followLikeBrowser } from '../support/event-source.ts';
import { BACKENDS, startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { type Role, spawnApi, spawnWorker } from '../support/spawn.ts';
import type { SseEvent } from '../support/sse.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';

const JOBS = 70;
const CUT_BY_THE_PROVIDER = 20;
const READERS_OF_ALL = 4;
/** The grant of its credits, and two of each job. */
const EVENTS = 1 + JOBS * 2;
const STREAM_MS = 2_500;
/** Often within the head of the answer, and seldom more than a few dozen frames. */
const CUT_AFTER = [200, 5_000] as const;

describe.each(BACKENDS)('subscribers cut at random bytes on %s', (backend) => {
  let millrace: TestPlatform;
  let account: TestAccount;
  let secondApi: Role;
  let workers: Role[];
  let proxies: TcpProxy[];
  beforeAll(async () => {
    millrace = await startPlatform({ backend, worker: false, env: { LEASE_MS: '2000', SWEEP_MS: '250' } });
    secondApi = await spawnApi(millrace);
    workers = await Promise.all([spawnWorker(millrace), spawnWorker(millrace)]);
    proxies = await Promise.all([
      startTcpProxy(millrace.url, { trouble: { cutAfter: CUT_AFTER } }),
      startTcpProxy(secondApi.url, { trouble: { cutAfter: CUT_AFTER } }),
    ]);
    account = await millrace.account({ plan: 'scale' });
  });
  afterAll(async () => {
    await Promise.all(workers.map((worker) => worker.kill()));
    await secondApi.kill();
    await Promise.all(proxies.map((proxy) => proxy.close()));
    await millrace.stop();
  });

  /** Once some have been heard of each of its jobs, and they are more than the other's. */
  async function killOneThatStreams(): Promise<void> {
    for (;;) {
      const [busiest] = await millrace.sql<{ pid: number; jobs: number }>(
        `select w.pid, count(*)::int as jobs from jobs j join workers w on w.id = j.worker_id
          where j.status = 'running' and exists (select from deltas d where d.job_id = j.id and d.attempt = j.epoch and d.first > 4)
          group by w.pid order by jobs desc limit 1`,
      );
      if (busiest && busiest.jobs > JOBS / 4) return workers.find(({ pid }) => pid === busiest.pid)?.kill();
      await sleep(20);
    }
  }

  it('miss nothing and repeat nothing', async () => {
    const through = (path: string): string[] => proxies.map((proxy) => proxy.through(millrace.url) + path);
    let deltas = 0;
    const count = (event: SseEvent): void => {
      if (event.event === 'job.delta') deltas += 1;
    };
    const all = Array.from({ length: READERS_OF_ALL }, () =>
      followLikeBrowser({
        urls: through('/v1/events'),
        key: account.key,
        onEvent: (_, soFar) => soFar.length === EVENTS,
      }),
    );
    const ids = await Promise.all(
      Array.from({ length: JOBS }, async (_, i) => {
        const fault = i < CUT_BY_THE_PROVIDER ? { fault: 'cut', times: 1 } : {};
        const sim = { latency_ms: STREAM_MS, ...fault };
        return (await account.submit(chat(`Tell me of mill ${i} and of its stream`, { sim }))).id as string;
      }),
    );
    const each = Promise.all(
      ids.map((id) =>
        followLikeBrowser({ urls: through(`/v1/jobs/${id}/events`), key: account.key, onEvent: count }),
      ),
    );
    await killOneThatStreams();
    const followed = await each;
    const jobs = await Promise.all(ids.map(async (id) => (await account.get(`/v1/jobs/${id}`)).body));

    followed.forEach(({ events }, i) => assertWhole(events, jobs[i]));
    const kept = await millrace.sql<{ sequence: string; body: string }>(
      'select sequence, body from events where account_id = $1 order by sequence',
      [account.id],
    );
    expect(kept.map(({ sequence }) => Number(sequence))).toEqual(
      Array.from({ length: EVENTS }, (_, i) => i + 1),
    );
    for (const { events } of await Promise.all(all)) {
      expect(events.map(({ id }) => id)).toEqual(kept.map(({ sequence }) => sequence));
      expect(events.map(({ data }) => data)).toEqual(kept.map(({ body }) => body));
    }

    const interrupted = await millrace.sql('select 1 from jobs where interruptions > 0');
    expect(interrupted.length).toBeGreaterThan(5);
    // Jobs that had said something in an attempt before their last: hardly one of their readers was away all the time.
    const takenBack = await millrace.sql(
      'select distinct j.id from jobs j join deltas d on d.job_id = j.id and d.attempt < j.epoch',
    );
    const resets = followed.filter(({ events }) => events.some(({ event }) => event === 'job.reset'));
    const cuts = proxies.reduce((sum, proxy) => sum + proxy.cuts, 0);
    console.log(
      `${backend}: ${cuts} cuts, ${deltas} deltas, ${resets.length} resets of ${takenBack.length} jobs run again, ${connections(followed)} connections of readers of one job`,
    );
    expect(takenBack.length).toBeGreaterThanOrEqual(CUT_BY_THE_PROVIDER);
    expect(resets.length).toBeLessThanOrEqual(takenBack.length);
    expect(resets.length).toBeGreaterThan(takenBack.length * 0.8);
    expect(cuts).toBeGreaterThanOrEqual(100);
    expect(deltas + kept.length).toBeGreaterThanOrEqual(2_000);
  }, 90_000);
});

const connections = (followed: Followed[]): number =>
  followed.reduce((sum, { connections }) => sum + connections, 0);

/** One job's stream as it was heard over all its connections. */
function assertWhole(events: SseEvent[], job: Json): void {
  const numbered = events.filter(({ id, ownId }) => ownId && !id?.includes('.'));
  expect(numbered.map(({ event }) => event)).toEqual(['job.queued', 'job.succeeded']);
  expect(events.at(-1)).toBe(numbered[1]);
  assertForward(events);

  let attempt = 0;
  let text = '';
  let offset = 0;
  for (const { event, data } of events) {
    const body = JSON.parse(data) as Json;
    if (event === 'job.reset') {
      expect(body).toEqual({ job_id: job.id, attempt: expect.any(Number) });
      expect(body.attempt).toBeGreaterThan(attempt);
      expect(offset).toBeGreaterThan(0);
      [attempt, text, offset] = [body.attempt, '', 0];
    }
    if (event === 'job.delta') {
      // Another attempt's words come after its reset, or there was nothing to reset.
      if (offset === 0) attempt = body.attempt;
      expect(body).toEqual({ job_id: job.id, attempt, offset, delta: expect.any(Object) });
      offset += 1;
      text += body.delta.content ?? '';
    }
  }
  expect(job.status).toBe('succeeded');
  expect(attempt).toBe(job.attempt);
  expect(text).toBe(job.output.text);
}

/** Ids go forward, each further than the last; but for the note of a new attempt, which shares its reset's. */
function assertForward(events: SseEvent[]): void {
  const own = events.filter(({ ownId }) => ownId);
  for (const [i, { id, event }] of own.entries()) {
    const before = own[i - 1];
    if (!before) continue;
    if (event === 'job.running' && before.event === 'job.reset') expect(id).toBe(before.id);
    else expect(compare(before.id, id), `${before.id} before ${id}`).toBeLessThan(0);
  }
}

function compare(a: string | null, b: string | null): number {
  const [x, y] = [parseCursor(a ?? ''), parseCursor(b ?? '')];
  if (!x || !y) throw new Error(`no cursor: ${a} or ${b}`);
  return Number(x.sequence - y.sequence) || x.attempt - y.attempt || x.offset - y.offset;
}
