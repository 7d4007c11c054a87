// Notes on how a job stands: its place in the line, its attempts. They have no number, and are only told while they are true.
// Mostly waiting, so all at once.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { chat, type Json } from '../support/client.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { readEvents } from '../support/sse.ts';

let millrace: TestPlatform;
beforeAll(async () => {
  millrace = await startPlatform();
});
afterAll(() => millrace.stop());

interface Note {
  event: string;
  ownId: boolean;
  at: number;
  data: Json;
}

/** The whole stream, with the time each part came. */
async function notes(account: TestAccount, id: string): Promise<Note[]> {
  const seen: Note[] = [];
  const headers = { authorization: `Bearer ${account.key}` };
  for await (const { event, ownId, data } of readEvents(`${millrace.url}/v1/jobs/${id}/events`, headers))
    seen.push({ event, ownId, at: performance.now(), data: JSON.parse(data) });
  return seen;
}

it.concurrent('a job in the line is told its place, at most once a second, and only ever a better one', async () => {
  const account = await millrace.account({ overrides: { slots: 1 } });
  const submit = async (latency: number): Promise<string> =>
    (await account.submit(chat('x', { sim: { latency_ms: latency } }))).id;
  // One that runs for a while, some that together take longer than a note waits, one slow one, and the one that is followed.
  const ahead = [await submit(1_500)];
  for (let i = 0; i < 8; i++) ahead.push(await submit(300));
  ahead.push(await submit(2_500));
  const last = await submit(0);
  const seen = await notes(account, last);
  const places = seen.filter(({ event }) => event === 'job.position');
  expect(places[0]?.data).toEqual({ job_id: last, position: 9 });
  // While the slow one before it runs, it is the next.
  expect(places.map(({ data }) => data.position)).toContain(0);
  expect(places.length).toBeGreaterThanOrEqual(3);
  for (const [i, { at, data, ownId }] of places.entries()) {
    const before = places[i - 1];
    expect(ownId).toBe(false);
    if (!before) continue;
    expect(data.position).toBeLessThan(before.data.position);
    // A little less than a second between their arrivals can be more than one between their departures.
    expect(at - before.at).toBeGreaterThan(500);
  }
  expect(
    seen
      .map(({ event }) => event)
      .filter((event) => !['job.position', 'job.delta', 'job.running'].includes(event)),
  ).toEqual(['job.queued', 'job.succeeded']);
});

it.concurrent('an attempt is told as it begins, and once; a failed one as it waits for the next', async () => {
  const account = await millrace.account();
  const sim = { latency_ms: 1_500, fault: '429-retry-after', times: 2 };
  const { id } = await account.submit(chat('x', { sim }));
  const seen = await notes(account, id);
  const attempts = seen
    .filter(({ event }) => ['job.running', 'job.retrying'].includes(event))
    .map(({ event, data }) => [event, data.attempt]);
  // The first two are refused at once, perhaps before anybody looked; but their waits last a second.
  expect(attempts.filter(([event]) => event === 'job.retrying')).toEqual([
    ['job.retrying', 1],
    ['job.retrying', 2],
  ]);
  expect(attempts.at(-1)).toEqual(['job.running', 3]);
  expect(new Set(attempts.map(String)).size).toBe(attempts.length);
  const firstDelta = seen.findIndex(({ event }) => event === 'job.delta');
  expect(seen.findIndex(({ event, data }) => event === 'job.running' && data.attempt === 3)).toBeLessThan(
    firstDelta,
  );
  // Nothing was said before the third, so there is nothing to take back.
  expect(seen.some(({ event }) => event === 'job.reset')).toBe(false);
});

it.concurrent('whoever comes while a job waits for its next attempt is told so, and whoever comes back is not told twice that it runs', async () => {
  const account = await millrace.account();
  const waiting = await account.submit(chat('x', { sim: { fault: '429-retry-after', times: 1 } }));
  await account.events(`/v1/jobs/${waiting.id}/events`, { until: ({ event }) => event === 'job.retrying' });
  const late = await account.events(`/v1/jobs/${waiting.id}/events`, { lastEventId: '2.1.0' });
  expect(late.map(({ event }) => event)).toContain('job.retrying');

  const { id } = await account.submit(chat('x', { sim: { latency_ms: 3_000 } }));
  const path = `/v1/jobs/${id}/events`;
  const first = await account.events(path, { until: ({ event }) => event === 'job.running' });
  const running = first.at(-1);
  expect(running).toMatchObject({ ownId: true, id: expect.stringMatching(/^\d+\.1\.0$/) });
  const rest = await account.events(path, { lastEventId: running?.id as string });
  expect(rest.map(({ event }) => event)).not.toContain('job.running');
  expect(rest.find(({ event }) => event === 'job.delta')).toBeDefined();
});
