// Coming back: to every place a stream can be left at, and to places that are gone or never were.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chat } from '../support/client.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import type { SseEvent } from '../support/sse.ts';

let millrace: TestPlatform;
beforeAll(async () => {
  millrace = await startPlatform();
});
afterAll(() => millrace.stop());

const isDelta = ({ event }: SseEvent): boolean => event === 'job.delta';
const bare = ({ id, event, data }: SseEvent) => ({ id, event, data });
const forget = (account: TestAccount, upTo: number) =>
  millrace.sql('delete from events where account_id = $1 and sequence <= $2', [account.id, upTo]);

describe('an id', () => {
  it('brings a reader of one job back to exactly where it was, in a header or in the query', async () => {
    const account = await millrace.account();
    const { id: jobId } = await account.submit(chat('Where was I?'));
    await account.ended(jobId);
    const path = `/v1/jobs/${jobId}/events`;
    const all = await account.events(path);
    // The grant of its credits was event 1.
    const deltas = all.filter(isDelta);
    expect(deltas.length).toBeGreaterThan(3);
    expect(all.map(({ id }) => id)).toEqual(['2', ...deltas.map((_, i) => `2.1.${i + 1}`), '3']);
    expect(all.map(({ event }) => event)).toEqual([
      'job.queued',
      ...deltas.map(() => 'job.delta'),
      'job.succeeded',
    ]);
    for (const [i, { data }] of deltas.entries())
      expect(JSON.parse(data)).toEqual({ job_id: jobId, attempt: 1, offset: i, delta: expect.any(Object) });
    for (const [i, { id }] of all.entries()) {
      const rest = all.slice(i + 1).map(bare);
      expect((await account.events(path, { lastEventId: id as string })).map(bare)).toEqual(rest);
      expect((await account.events(`${path}?after=${id}`)).map(bare)).toEqual(rest);
    }
    expect((await account.events(`${path}?after=start`)).map(bare)).toEqual(all.map(bare));
    // What a browser sends by itself is newer than what its page was loaded with.
    expect(await account.events(`${path}?after=2`, { lastEventId: '3' })).toEqual([]);
  });

  it('brings a reader of all back', async () => {
    const account = await millrace.account();
    for (const words of ['one', 'two', 'three']) await account.run(chat(words));
    const last = ({ id }: SseEvent) => id === '7';
    const all = await account.events('/v1/events', { until: last });
    expect(all.map(({ id }) => id)).toEqual(['1', '2', '3', '4', '5', '6', '7']);
    for (const [i, { id }] of all.slice(0, -1).entries())
      expect(await account.events('/v1/events', { lastEventId: id as string, until: last })).toEqual(
        all.slice(i + 1),
      );
    // A job's cursor does for its account.
    expect(await account.events('/v1/events?after=5.1.3', { until: last })).toEqual(all.slice(5));
    let heard = false;
    const fresh = account
      .events('/v1/events?after=now', { until: ({ event }) => event === 'job.queued' })
      .finally(() => (heard = true));
    // Nobody tells when the stream has begun: jobs are run until one comes after.
    do await account.run(chat('four'));
    while (!heard);
    for (const { id } of await fresh) expect(Number(id)).toBeGreaterThan(7);
  });

  it('is an answer of 400 where no stream could have given it', async () => {
    const account = await millrace.account();
    const { id } = await account.submit(chat('x'));
    for (const path of ['/v1/events', `/v1/jobs/${id}/events`])
      for (const after of ['', 'x', '-1', '1.2', '1.2.3.4', '9'.repeat(19)])
        expect((await account.get(`${path}?after=${after}`)).body).toMatchObject({ code: 'invalid_request' });
  });
});

describe('a cursor of an account that cannot be served', () => {
  it('gets what is open, and goes on from there', async () => {
    const account = await millrace.account();
    for (const words of ['one', 'two']) await account.run(chat(words));
    const slow = await account.submit(chat('slow', { sim: { latency_ms: 20_000 } }));
    await account.events(`/v1/jobs/${slow.id}/events`, { until: isDelta });
    await forget(account, 4);
    for (const [after, reason] of [
      ['2', 'cursor_expired'],
      ['700', 'cursor_ahead'],
    ] as const) {
      const [reset, ...rest] = await account.events('/v1/events', {
        lastEventId: after,
        until: ({ event }) => event === 'reset' || event === 'job.queued',
      });
      expect(rest).toEqual([]);
      expect(reset).toMatchObject({ id: '6', event: 'reset' });
      expect(JSON.parse(reset?.data ?? '')).toEqual({
        reason,
        cursor: 6,
        has_more: false,
        jobs: [
          expect.objectContaining({
            id: slow.id,
            object: 'job',
            status: 'running',
            version: 2,
            output: null,
          }),
        ],
      });
    }
    // What is kept is enough for these.
    for (const after of ['4', 'start', '0'])
      expect(
        (await account.events(`/v1/events?after=${after}`, { until: ({ id }) => id === '6' })).map(
          ({ id }) => id,
        ),
      ).toEqual(['5', '6']);
    // Canceled once the stream has begun, so that its end is heard and not part of what is open.
    let asked: Promise<unknown> | null = null;
    const until = ({ id, event }: { id: string | null; event: string }): boolean => {
      if (event === 'reset') asked ??= account.post(`/v1/jobs/${slow.id}/cancel`);
      return id === '7';
    };
    const resumed = await account.events('/v1/events', { lastEventId: '1', until });
    await asked;
    expect(resumed.map(({ id, event }) => [id, event])).toEqual([
      ['6', 'reset'],
      ['7', 'job.canceled'],
    ]);
  });

  it('gets it also where nothing at all is kept, and in the middle of a stream', async () => {
    const account = await millrace.account();
    await account.run(chat('one'));
    const watching = account.events('/v1/events?after=3', {
      until: ({ event }) => event === 'job.succeeded',
    });
    await forget(account, 3);
    const [reset] = await account.events('/v1/events?after=1', { until: () => true });
    expect(JSON.parse(reset?.data ?? '')).toEqual({
      reason: 'cursor_expired',
      cursor: 3,
      jobs: [],
      has_more: false,
    });
    // A number that is skipped: events 4 and 5 are never seen by those who wait for 4.
    await millrace.sql('update accounts set event_sequence = event_sequence + 2 where id = $1', [account.id]);
    await account.run(chat('two'));
    const events = await watching;
    expect(events[0]).toMatchObject({ event: 'reset' });
    expect(Number(events.at(-1)?.id)).toBe(7);
  });

  it('shows a thousand jobs, and says that there are more', async () => {
    const account = await millrace.account({ overrides: { slots: 0, line_length: 5_000 } });
    const job = chat('x', { max_tokens: 1 });
    for (let i = 0; i < 1_010; i += 505)
      await account.post('/v1/jobs/batch', { jobs: Array.from({ length: 505 }, () => job) });
    const [reset] = await account.events('/v1/events?after=99999', { until: () => true });
    const { jobs, has_more: more } = JSON.parse(reset?.data ?? '');
    expect([jobs.length, more]).toEqual([1_000, true]);
  });
});

describe('a cursor of one job that cannot be served', () => {
  it('gets the whole job as polling shows it, and the end of the stream where it has ended', async () => {
    const account = await millrace.account();
    const { id } = await account.run(chat('one'));
    await forget(account, 3);
    for (const [after, reason] of [
      ['start', 'cursor_expired'],
      ['2', 'cursor_expired'],
      ['2.1.4', 'cursor_expired'],
      ['4', 'cursor_ahead'],
      ['2.7.1', 'cursor_ahead'],
    ] as const) {
      const events = await account.events(`/v1/jobs/${id}/events?after=${after}`);
      expect(events.map(({ id, event }) => [id, event])).toEqual([['3', 'reset']]);
      const { body: job } = await account.get(`/v1/jobs/${id}`);
      expect(JSON.parse(events[0]?.data ?? '')).toEqual({ job_id: id, reason, cursor: 3, job });
    }
    expect((await account.get(`/v1/jobs/${id}/events?after=3`)).status).toBe(204);
  });

  it('goes on from the first word of the attempt that runs', async () => {
    const account = await millrace.account();
    const { id } = await account.submit(chat('A tale of some length', { sim: { latency_ms: 4_000 } }));
    const path = `/v1/jobs/${id}/events`;
    await account.events(path, { until: isDelta });
    const all = await Promise.all(
      ['2.1.5000', '2.2.0', '9'].map((after) => account.events(`${path}?after=${after}`)),
    );
    const job = await account.ended(id);
    for (const events of all) {
      expect(events.slice(0, 2).map(({ event }) => event)).toEqual(['reset', 'job.running']);
      expect(JSON.parse(events[0]?.data ?? '')).toMatchObject({
        reason: 'cursor_ahead',
        job: { id, status: 'running', attempt: 1, output: null },
      });
      const deltas = events.filter(isDelta).map(({ data }) => JSON.parse(data));
      expect(deltas.map(({ offset }) => offset)).toEqual(deltas.map((_, i) => i));
      expect(deltas.map(({ delta }) => delta.content ?? '').join('')).toBe(job.output.text);
      expect(events.at(-1)).toMatchObject({ id: '3', event: 'job.succeeded' });
    }
  });

  it('whose words are gone already gets the job, unless it had not begun to listen to them', async () => {
    const account = await millrace.account();
    const { id } = await account.run(chat('one'));
    await millrace.sql('delete from deltas where job_id = $1', [id]);
    const events = await account.events(`/v1/jobs/${id}/events?after=2.1.4`);
    expect(events).toMatchObject([{ event: 'reset', id: '3' }]);
    expect(JSON.parse(events[0]?.data ?? '')).toMatchObject({
      reason: 'cursor_expired',
      job: { status: 'succeeded' },
    });
    expect((await account.events(`/v1/jobs/${id}/events`)).map(({ event }) => event)).toEqual([
      'job.queued',
      'job.succeeded',
    ]);
  });
});

it("two readers of one job hear the same, and another account's reader nothing", async () => {
  const account = await millrace.account();
  const other = await millrace.account();
  const { id } = await account.submit(
    chat('To you both', { sim: { latency_ms: 3_000, fault: 'cut', times: 1 } }),
  );
  const path = `/v1/jobs/${id}/events`;
  const [one, two] = await Promise.all([account.events(path), account.events(path)]);
  const lasting = (events: SseEvent[]) => events.filter(({ ownId }) => ownId).map(bare);
  expect(lasting(one).map(({ event }) => event)).toContain('job.reset');
  expect(lasting(two)).toEqual(lasting(one));
  expect((await other.get(path)).status).toBe(404);
  const [granted, ...rest] = await other.events('/v1/events', { until: () => true });
  expect([granted?.event, rest]).toEqual(['credits.granted', []]);
});
