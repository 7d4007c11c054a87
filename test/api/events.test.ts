// What the live channels say, held to what polling says: the same jobs, the same numbers, the same bytes.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chat, type Json } from '../support/client.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import type { SseEvent } from '../support/sse.ts';
import { startVendor, type Vendor } from '../support/vendor.ts';

let millrace: TestPlatform;
let account: TestAccount;
let vendor: Vendor;
beforeAll(async () => {
  millrace = await startPlatform();
  account = await millrace.account();
  vendor = await startVendor(millrace.admin, 'local/letters');
});
afterAll(async () => {
  await millrace.stop();
  await vendor.close();
});

const FINAL = new Set(['job.succeeded', 'job.failed', 'job.canceled', 'job.expired']);

/** The job's whole stream, which must end by itself, and the job as it is polled. */
async function followed(id: string): Promise<{ events: SseEvent[]; end: SseEvent; job: Json }> {
  const events = await account.events(`/v1/jobs/${id}/events`);
  const { body: job } = await account.get(`/v1/jobs/${id}`);
  const end = events.at(-1) as SseEvent;
  expect(events.filter(({ event }) => FINAL.has(event))).toEqual([end]);
  return { events, end, job };
}

/** What an event shows of a job, taken from the job as it is polled. */
function shownOf(job: Json): Json {
  const { id, object, kind, model, status, version, metadata, output, error, cost, created_at, ended_at } =
    job;
  const links = { self: millrace.url + job.links.self };
  return {
    id,
    object,
    kind,
    model,
    status,
    version,
    metadata,
    output,
    error,
    cost,
    created_at,
    ended_at,
    links,
  };
}

const outcomes: Record<string, () => Promise<string>> = {
  'succeeded, a chat': async () =>
    (await account.submit({ ...chat('How deep is it?'), metadata: { order: '77' } })).id,
  'succeeded, an image': async () =>
    (await account.submit({ model: 'sim/image', input: { prompt: 'a mill', size: '64x64' } })).id,
  'failed for good': async () => (await account.submit(chat('x', { sim: { fault: 'refusal' } }))).id,
  'failed, its attempts used up': async () => (await account.submit(chat('x', { sim: { fault: '500' } }))).id,
  'canceled while it runs': async () => {
    const { id } = await account.submit(chat('A long tale', { sim: { latency_ms: 20_000 } }));
    await account.events(`/v1/jobs/${id}/events`, { until: ({ event }) => event === 'job.delta' });
    await account.post(`/v1/jobs/${id}/cancel`);
    return id;
  },
  'expired while it runs': async () =>
    (await account.submit({ ...chat('A long tale', { sim: { latency_ms: 20_000 } }), expires_in: 1 })).id,
};

describe.each(Object.keys(outcomes))('of a job that %s', (outcome) => {
  it('polling and every channel say the same', async () => {
    const id = await (outcomes[outcome] as () => Promise<string>)();
    const { events, end, job } = await followed(id);
    expect(outcome).toContain(job.status);
    expect(end.event).toBe(`job.${job.status}`);
    const body = JSON.parse(end.data);
    expect(body).toEqual({
      id: expect.stringMatching(/^ev_/),
      object: 'event',
      type: end.event,
      timestamp: job.ended_at,
      api_version: 'v1',
      livemode: true,
      account_id: account.id,
      sequence: Number(end.id),
      data: shownOf(job),
    });
    const said = events.filter(({ event }) => event === 'job.delta').map(({ data }) => JSON.parse(data));
    // What a client ended is kept as it was said; what failed is not.
    if (job.kind === 'chat' && job.output)
      expect(said.map(({ delta }) => delta.content ?? '').join('')).toBe(job.output.text);

    const again = { 'last-event-id': end.id as string };
    expect((await account.get(`/v1/jobs/${id}/events`, again)).status).toBe(204);
    const mine = events.filter(({ event }) => event === 'job.queued' || FINAL.has(event));
    const ofAll = await account.events('/v1/events', { until: ({ id }) => id === end.id });
    expect(ofAll.filter(({ data }) => JSON.parse(data).data.id === id)).toEqual(mine);
    const list = await account.get(`/v1/events?after=${Number(end.id) - 1}&limit=1`, {
      accept: 'application/json',
    });
    expect(list.body.data).toEqual([body]);
  });
});

it('a job that ends in the line says so too, and was never run', async () => {
  const own = await millrace.account({ overrides: { slots: 0 } });
  const canceled = await own.submit(chat('x'));
  const expired = await own.submit({ ...chat('y'), expires_in: 1 });
  const both = [canceled, expired].map(({ id }) => own.events(`/v1/jobs/${id}/events`));
  await own.post(`/v1/jobs/${canceled.id}/cancel`);
  for (const [i, status] of ['canceled', 'expired'].entries()) {
    const events = (await both[i]) ?? [];
    expect(events.map(({ event }) => event).filter((event) => event !== 'job.position')).toEqual([
      'job.queued',
      `job.${status}`,
    ]);
    const { body: job } = await own.get(`/v1/jobs/${[canceled, expired][i].id}`);
    expect(JSON.parse(events.at(-1)?.data ?? '').data).toEqual(shownOf(job));
    expect(job).toMatchObject({ status, attempt: 0, cost: { credits: 0 } });
  }
});

it('numbers an account without a gap, and pages through it as JSON', async () => {
  const pages: Json[] = [];
  for (let after: string | null = '0'; after !== null; after = pages.at(-1).next_after) {
    const page = await account.get(`/v1/events?after=${after}&limit=3`, { accept: 'application/json' });
    expect(page.status).toBe(200);
    expect(page.headers['content-type']).toBe('application/json; charset=utf-8');
    pages.push(page.body);
  }
  const events = pages.flatMap(({ data }) => data);
  expect(events.length).toBeGreaterThan(6);
  expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_, i) => i + 1));
  expect(pages.at(-1)).toMatchObject({ object: 'list', has_more: false, next_after: null });
  const now = await account.get('/v1/events?after=now', { accept: 'application/json' });
  expect(now.body).toEqual({ object: 'list', data: [], has_more: false, next_after: null });
  const refused = await account.get('/v1/events?after=yesterday');
  expect(refused.body).toMatchObject({ code: 'invalid_request', details: { issues: [{ path: 'after' }] } });
});

describe("a vendor's JSON", () => {
  const completion = (text: string): string =>
    JSON.stringify(
      {
        id: 'x',
        object: 'chat.completion',
        created: 1,
        model: 'letters',
        choices: [{ index: 0, message: { role: 'assistant', content: text }, finish_reason: 'stop' }],
        usage: { prompt_tokens: 3, completion_tokens: 5, total_tokens: 8 },
        big: 0,
      },
      null,
      '\t',
    ).replace('"big": 0', '"big": 12345678901234567890');

  it.each(['\n', '\r\n', '\r'])('stays the same JSON over lines that end in %j', async (lineEnd) => {
    const letters = completion('one\ntwo').replaceAll('\n', lineEnd);
    vendor.says(letters);
    const metadata = `{${lineEnd}"a":${lineEnd}"b"}`;
    const order = `{"model":"local/letters","metadata":${metadata},"input":{"messages":[{"role":"user","content":"x"}],"stream":false}}`;
    const submitted = await account.post('/v1/jobs', order, { 'content-type': 'application/json' });
    expect(submitted.status).toBe(202);
    const { end, job } = await followed(submitted.body.id);
    expect(job).toMatchObject({ status: 'succeeded', metadata: { a: 'b' } });
    // As it was written, but for the line ends, which a stream has of one kind only.
    expect(end.data).toContain(`"completion":${letters.replaceAll(lineEnd, '\n')}`);
    expect(end.data).toContain('"big": 12345678901234567890');
    expect(JSON.parse(end.data).data).toEqual(shownOf(job));
  });

  it('is told whole however much it is, and left out of an event where it is too long', async () => {
    const words = Array.from({ length: 3_000 }, (_, i) => `${i}: ${'grain '.repeat(60)}`);
    const chunk = (delta: object, finish: string | null): string =>
      JSON.stringify({
        id: 'x',
        created: 1,
        model: 'm',
        choices: [{ index: 0, delta, finish_reason: finish }],
      });
    vendor.says([...words.map((content) => chunk({ content }, null)), chunk({}, 'stop')]);
    const input = { messages: [{ role: 'user', content: 'x' }] };
    const { id } = await account.submit({ model: 'local/letters', input });
    const { events, end, job } = await followed(id);
    const deltas = events.filter(({ event }) => event === 'job.delta').map(({ data }) => JSON.parse(data));
    expect(deltas.map(({ offset }) => offset)).toEqual(words.map((_, i) => i));
    expect(deltas.map(({ delta }) => delta.content)).toEqual(words);
    expect(job.output.text).toBe(words.join(''));
    // Once more, now that all of it is there to be read at once.
    const again = await account.events(`/v1/jobs/${id}/events`);
    const lasting = events.filter(({ ownId, event }) => ownId && event !== 'job.running');
    expect(again).toEqual(lasting);
    expect(JSON.parse(end.data).data).toEqual({ ...shownOf(job), output: null, output_omitted: true });
  });
});
