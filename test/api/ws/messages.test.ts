// The table of contract 14, line by line.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chat, type Json } from '../../support/client.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../../support/platform.ts';
import { openSocket, refusedSocket, type TestSocket } from '../../support/socket.ts';

let millrace: TestPlatform;
let account: TestAccount;
const sockets: TestSocket[] = [];
beforeAll(async () => {
  millrace = await startPlatform();
  account = await millrace.account({ overrides: { slots: 20 } });
});
afterAll(async () => {
  for (const { ws } of sockets) ws.terminate();
  await millrace.stop();
});

async function open({ key } = account): Promise<TestSocket> {
  const socket = await openSocket(millrace.url, { key });
  sockets.push(socket);
  return socket;
}

const kept = (accountId: string) =>
  millrace.sql<{ sequence: string; type: string; body: string; job_id: string | null }>(
    'select sequence, type, body, job_id from events where account_id = $1 order by sequence',
    [accountId],
  );

/** The bytes of the events of one subscription, as they came. */
const eventBytes = ({ texts }: TestSocket, subscription: string): string[] =>
  texts.flatMap((text) => {
    const head = `{"type":"event","subscription":"${subscription}","event":`;
    return text.startsWith(head) ? [text.slice(head.length, -1)] : [];
  });

describe('hello', () => {
  it('comes first, and says who one is, where the events are and what one may', async () => {
    const socket = await open();
    const hello = await socket.until(() => true);
    const events = await kept(account.id);
    expect(hello).toEqual({
      type: 'hello',
      connection_id: expect.stringMatching(/^req_/),
      account_id: account.id,
      heartbeat_ms: 25_000,
      cursor: events.length,
      oldest: 1,
      limits: { frame_bytes: 1_048_576, subscriptions: 100, connections: 50, messages_a_second: 50 },
    });
    expect(socket.ws.protocol).toBe('millrace.v1');
    expect(socket.ws.extensions).toBe('');
  });
});

describe('submit', () => {
  it('answers the job, follows it if asked, and tells all of it', async () => {
    const socket = await open();
    const job = chat('Tell me of the mill by the stream', { sim: { latency_ms: 300 } });
    const answer = await socket.ask({ type: 'submit', job, subscribe: true });
    expect(answer).toMatchObject({ type: 'job', ref: 'r1', subscription: 's1', job: { status: 'queued' } });
    const { id } = answer.job;
    await socket.until(({ type, event }) => type === 'event' && event.type === 'job.succeeded');
    const ended = (await account.get(`/v1/jobs/${id}`)).body;
    const after = socket.messages.slice(socket.messages.indexOf(answer) + 1);
    const types = after.map(({ type, event }) => (type === 'event' ? event.type : type));
    expect(types.filter((type) => !['delta', 'position'].includes(type))).toEqual(
      expect.arrayContaining(['job.queued', 'caught_up', 'running', 'job.succeeded']),
    );
    expect(types[0]).toBe('job.queued');
    expect(types.at(-1)).toBe('job.succeeded');
    const deltas = after.filter(({ type }) => type === 'delta');
    expect(deltas.map(({ offset }) => offset)).toEqual(deltas.map((_, i) => i));
    expect(deltas.map(({ delta }) => delta.content ?? '').join('')).toBe(ended.output.text);
    for (const delta of deltas)
      expect(Object.keys(delta)).toEqual(['type', 'subscription', 'job_id', 'attempt', 'offset', 'delta']);
    expect(eventBytes(socket, 's1')).toEqual(
      (await kept(account.id)).filter(({ job_id }) => job_id === id).map(({ body }) => body),
    );
  });

  it('with a key makes one job of twins, over whichever channel they come', async () => {
    const socket = await open();
    // As nobody but the client would write it.
    const job = `{ "model":"sim/chat" ,"input":{"messages":[{"role":"user","content":"tw\\u0069ns"}], "seed":12345678901234567890}}`;
    const said = (ref: string, key: string) =>
      socket.say(`{"type":"submit","ref":"${ref}","idempotency_key":${JSON.stringify(key)},"job":${job}}`);
    const post = (key: string) =>
      account.post('/v1/jobs', job, { 'content-type': 'application/json', 'idempotency-key': key });
    said('a', 'k1');
    const first = await socket.until(({ ref }) => ref === 'a');
    expect(first.type, JSON.stringify(first)).toBe('job');
    expect(first).not.toHaveProperty('replayed');
    const twin = await post('k1');
    expect([twin.status, twin.headers['idempotent-replayed']], JSON.stringify(twin.body)).toEqual([
      expect.any(Number),
      'true',
    ]);
    expect(twin.body.id).toBe(first.job.id);
    const other = await post('"k2"');
    said('b', 'k2');
    expect(await socket.until(({ ref }) => ref === 'b')).toMatchObject({
      type: 'job',
      replayed: true,
      job: { id: other.body.id },
    });
    const reused = await socket.ask({ type: 'submit', idempotency_key: 'k2', job: chat('another') });
    expect(reused).toMatchObject({
      type: 'error',
      error: { code: 'idempotency_key_reused', statusCode: 422, details: { job_id: other.body.id } },
    });
    const text = await account.get(`/v1/jobs/${first.job.id}`);
    const raw = await millrace.sql<{ input: string }>('select input from jobs where id = $1', [text.body.id]);
    expect(raw[0]?.input).toContain('"seed":12345678901234567890');
    expect(raw[0]?.input).toContain('tw\\u0069ns');
    const both = await Promise.all([
      ...Array.from({ length: 5 }, () => post('k3')),
      ...Array.from({ length: 5 }, async (_, i) => {
        said(`t${i}`, 'k3');
        return { body: (await socket.until(({ ref }) => ref === `t${i}`)).job as Json };
      }),
    ]);
    expect(new Set(both.map(({ body }) => body.id)).size).toBe(1);
  });

  it('is refused as over HTTP, in the same body without a path, and the socket stays open', async () => {
    const socket = await open();
    const bad = [
      { model: 'none/such', input: {} },
      { model: 'sim/chat', input: {} },
      { model: 'sim/chat', input: { messages: [] }, temperature: 1 },
      { ...chat('x'), max_credits: 0 },
      {},
    ];
    for (const job of bad) {
      const over = await account.post('/v1/jobs', job);
      const { error, ref, type } = await socket.ask({ type: 'submit', job });
      expect([type, typeof ref]).toEqual(['error', 'string']);
      const { path: _, requestId: id, timestamp: at, ...rest } = over.body;
      expect(error).toEqual({
        ...rest,
        requestId: expect.stringMatching(/^req_/),
        timestamp: expect.any(String),
      });
      expect([id, at]).not.toContain(error.requestId);
    }
    expect(await socket.ask({ type: 'submit', idempotency_key: '\n', job: chat() })).toMatchObject({
      error: { code: 'invalid_request', details: { issues: [{ path: 'idempotency_key' }] } },
    });
    expect(await socket.ask({ type: 'ping' })).toMatchObject({
      type: 'pong',
      at: expect.stringMatching(/Z$/),
    });
  });
});

describe('get and cancel', () => {
  it('answer the job, or why not', async () => {
    const socket = await open();
    const { id } = await account.submit(chat('x', { sim: { fault: 'hang' } }));
    expect(await socket.ask({ type: 'get', job_id: id })).toMatchObject({ type: 'job', job: { id } });
    expect(await socket.ask({ type: 'cancel', job_id: id })).toMatchObject({ type: 'job', job: { id } });
    await account.ended(id);
    const shown = await socket.ask({ type: 'get', job_id: id });
    expect(shown.job).toEqual((await account.get(`/v1/jobs/${id}`)).body);
    expect(shown.job.status).toBe('canceled');
    expect(await socket.ask({ type: 'cancel', job_id: id })).toMatchObject({
      type: 'error',
      error: { code: 'job_ended', statusCode: 409, details: { status: 'canceled' } },
    });
  });

  it("know nothing of another account's jobs", async () => {
    const other = await millrace.account();
    const { id } = await other.submit(chat());
    const socket = await open();
    for (const message of [
      { type: 'get', job_id: id },
      { type: 'cancel', job_id: id },
      { type: 'subscribe', jobs: [id] },
      { type: 'get', job_id: 'job_no' },
    ])
      expect(await socket.ask(message)).toMatchObject({ type: 'error', error: { code: 'not_found' } });
    expect((await other.ended(id)).status).toBe('succeeded');
  });
});

describe('subscribe to all', () => {
  it('tells the backlog, says where it has caught up, and then what happens, byte for byte', async () => {
    const one = await millrace.account();
    for (let i = 0; i < 3; i++) await one.run(chat('x'));
    const socket = await open(one);
    const { subscription } = await socket.ask({ type: 'subscribe', jobs: 'all', after: 'start' });
    expect(subscription).toBe('s1');
    const caught = await socket.until(({ type }) => type === 'caught_up');
    const before = await kept(one.id);
    expect(caught).toEqual({ type: 'caught_up', subscription: 's1', cursor: before.length });
    expect(eventBytes(socket, 's1')).toEqual(before.map(({ body }) => body));
    const { id } = await one.run(chat('y'));
    await socket.until(({ event }) => event?.type === 'job.succeeded' && event.data.id === id);
    const all = await kept(one.id);
    expect(eventBytes(socket, 's1')).toEqual(all.map(({ body }) => body));
    const sse = await one.events('/v1/events', { until: ({ id: last }) => last === String(all.length) });
    expect(sse.map(({ data }) => data)).toEqual(eventBytes(socket, 's1'));

    // From a number on, from now on, and only what is wanted.
    await socket.ask({ type: 'subscribe', jobs: 'all', after: 4 });
    await socket.until(({ type, subscription: name }) => type === 'caught_up' && name === 's2');
    expect(eventBytes(socket, 's2')).toEqual(all.slice(4).map(({ body }) => body));
    await socket.ask({ type: 'subscribe', jobs: 'all', after: 'now', events: ['job.queued', 'credits.*'] });
    const now = await socket.until(({ type, subscription: name }) => type === 'caught_up' && name === 's3');
    expect(now.cursor).toBe(all.length);
    expect(await socket.ask({ type: 'unsubscribe', subscription: 's1' })).toEqual({ type: 'ok', ref: 'r4' });
    const heard = eventBytes(socket, 's1').length;
    await millrace.admin.post(`/v1/admin/accounts/${one.id}/grants`, { credits: 5, reason: 'x' });
    await one.run(chat('z'));
    await socket.until(
      ({ event, subscription: name }) => name === 's2' && event?.sequence === all.length + 3,
    );
    expect(eventBytes(socket, 's1').length).toBe(heard);
    const last = (await kept(one.id)).slice(all.length);
    expect(last.map(({ type }) => type)).toEqual(['credits.granted', 'job.queued', 'job.succeeded']);
    expect(eventBytes(socket, 's3')).toEqual(last.slice(0, 2).map(({ body }) => body));
    expect(eventBytes(socket, 's2').slice(-3)).toEqual(last.map(({ body }) => body));
  });

  it('from now on misses nothing that happens behind its answer', async () => {
    const one = await millrace.account();
    const { length } = await kept(one.id);
    const socket = await open(one);
    const happen = () =>
      millrace.sql(
        `with numbered as (update accounts set event_sequence = event_sequence + 1 where id = $1 returning event_sequence as n)
          insert into events select $1, n, 'ev_' || n, 'test.filler', null, '{"sequence":' || n || '}', now() from numbered`,
        [one.id],
      );
    // Nobody reads for a client meanwhile: it is answered now, or once it is known what now is.
    const { client, bus } = millrace.platform.ctx;
    const held = await Promise.all(Array.from({ length: client.options.max }, () => client.connect()));
    socket.say({ type: 'subscribe', ref: 'now', jobs: 'all', after: 'now' });
    await expect.poll(() => client.waitingCount).toBeGreaterThan(0);
    const isAnswered = (): boolean => socket.messages.some(({ ref }) => ref === 'now');
    await socket.ask({ type: 'ping' });
    const early = isAnswered();
    if (early) await happen();
    for (const connection of held) connection.release();
    await socket.until(({ ref }) => ref === 'now');
    if (!early) await happen();
    bus.publish([{ type: 'account', accountId: one.id }]);
    await socket.until(({ type }) => type === 'caught_up');
    await socket.until(({ event }) => event?.sequence === length + 1);
  });

  it('resets a cursor that cannot be served, with what is open', async () => {
    const one = await millrace.account();
    const { id } = await one.submit(chat('x', { sim: { fault: 'hang' } }));
    await one.run(chat());
    const socket = await open(one);
    await socket.ask({ type: 'subscribe', jobs: 'all', after: 4_000 });
    const ahead = await socket.until(({ type }) => type === 'reset');
    const { length } = await kept(one.id);
    expect(ahead).toMatchObject({
      subscription: 's1',
      reason: 'cursor_ahead',
      cursor: length,
      jobs: [{ id, object: 'job' }],
    });
    await socket.until(({ type, cursor }) => type === 'caught_up' && cursor === length);
    await millrace.sql('delete from events where account_id = $1 and sequence <= 2', [one.id]);
    await socket.ask({ type: 'subscribe', jobs: 'all', after: 1 });
    expect(
      await socket.until(({ type, subscription }) => type === 'reset' && subscription === 's2'),
    ).toMatchObject({
      reason: 'cursor_expired',
      cursor: length,
      jobs: [{ id }],
    });
    await one.post(`/v1/jobs/${id}/cancel`);
    for (const name of ['s1', 's2'])
      await socket.until(
        ({ subscription, event }) => subscription === name && event?.type === 'job.canceled',
      );
  });
});

describe('subscribe to jobs', () => {
  it('goes on where one was, in events and deltas', async () => {
    const { id } = await account.submit(chat('Some words to be cut in two', { sim: { latency_ms: 1_500 } }));
    const first = await open();
    await first.ask({ type: 'subscribe', jobs: [id], deltas: true });
    const heard = await first.until(({ type, offset }) => type === 'delta' && offset === 2);
    const queued = first.messages.find(({ type }) => type === 'event');
    first.ws.terminate();
    const second = await open();
    await second.ask({
      type: 'subscribe',
      jobs: [id],
      after: queued.event.sequence,
      deltas: true,
      deltas_after: { [id]: { attempt: heard.attempt, offset: heard.offset } },
    });
    await second.until(({ event }) => event?.type === 'job.succeeded');
    const deltas = [...first.messages.slice(0, first.messages.indexOf(heard) + 1), ...second.messages].filter(
      ({ type }) => type === 'delta',
    );
    expect(deltas.map(({ offset }) => offset)).toEqual(deltas.map((_, i) => i));
    const job = (await account.get(`/v1/jobs/${id}`)).body;
    expect(deltas.map(({ delta }) => delta.content ?? '').join('')).toBe(job.output.text);
    expect(second.messages.filter(({ event }) => event?.type === 'job.queued')).toEqual([]);
    // Its one job has ended, and to have done with it is no mistake.
    expect(await second.ask({ type: 'unsubscribe', subscription: 's1' })).toMatchObject({ type: 'ok' });
    expect(await second.ask({ type: 'unsubscribe', subscription: 's2' })).toMatchObject({
      error: { code: 'not_found' },
    });
  });

  it('takes back what an attempt said that is followed by another, and says nothing of deltas to whom they are nothing', async () => {
    const { id } = await account.submit(
      chat('Some words', { sim: { latency_ms: 1_000, fault: 'cut', times: 1 } }),
    );
    const socket = await open();
    await socket.ask({ type: 'subscribe', jobs: [id], deltas: true });
    await socket.ask({ type: 'subscribe', jobs: [id] });
    await socket.ask({ type: 'subscribe', jobs: [id], events: ['job.succeeded'] });
    for (const name of ['s1', 's2', 's3'])
      await socket.until(
        ({ subscription, event }) => subscription === name && event?.type === 'job.succeeded',
      );
    const of = (name: string) => socket.messages.filter(({ subscription }) => subscription === name);
    const reset = of('s1').find(({ type }) => type === 'delta_reset');
    expect(reset).toEqual({ type: 'delta_reset', subscription: 's1', job_id: id, attempt: 2 });
    const deltas = of('s1')
      .slice(of('s1').indexOf(reset))
      .filter(({ type }) => type === 'delta');
    const job = (await account.get(`/v1/jobs/${id}`)).body;
    expect(deltas.map(({ delta }) => delta.content ?? '').join('')).toBe(job.output.text);
    const kinds = (name: string) => new Set(of(name).map(({ type }) => type));
    expect(kinds('s2')).not.toContain('delta');
    expect(kinds('s2')).not.toContain('delta_reset');
    expect(kinds('s2')).toContain('running');
    expect([...kinds('s3')].toSorted()).toEqual(['caught_up', 'event', 'subscribed']);
    expect(of('s3').filter(({ type }) => type === 'event')).toHaveLength(1);
  });

  it('tells those who wait their place, with what is to be expected', async () => {
    const one = await millrace.account({ overrides: { slots: 1 } });
    const first = await one.submit(chat('x', { sim: { fault: 'hang' } }));
    const second = await one.submit(chat());
    const third = await one.submit(chat());
    const socket = await open(one);
    await socket.ask({ type: 'subscribe', jobs: [third.id, second.id] });
    const place = (job_id: string, position: number) =>
      socket.until((m) => m.type === 'position' && m.job_id === job_id && m.position === position);
    expect(await place(third.id, 1)).toEqual({
      type: 'position',
      subscription: 's1',
      job_id: third.id,
      position: 1,
      eta_ms: null,
    });
    await one.post(`/v1/jobs/${second.id}/cancel`);
    await place(third.id, 0);
    await one.post(`/v1/jobs/${first.id}/cancel`);
    await socket.until(({ event }) => event?.type === 'job.succeeded');
    expect((await socket.until(({ type }) => type === 'caught_up')).cursor).toBeGreaterThan(3);
  });

  it('resets a cursor of a job that cannot be served', async () => {
    const { id } = await account.run(chat());
    const socket = await open();
    await socket.ask({ type: 'subscribe', jobs: [id], after: 1_000_000 });
    const reset = await socket.until(({ type }) => type === 'reset');
    expect(reset).toMatchObject({
      subscription: 's1',
      reason: 'cursor_ahead',
      jobs: [{ id, status: 'succeeded', output: { text: expect.any(String) } }],
    });
    // Ended, and heard to its end: it has caught up at once.
    await socket.ask({ type: 'subscribe', jobs: [id], after: 'now' });
    await socket.until(({ type, subscription }) => type === 'caught_up' && subscription === 's2');
  });

  it('has its bounds', async () => {
    const socket = await open();
    const { id } = await account.submit(chat('x', { sim: { fault: 'hang' } }));
    for (let i = 0; i < 100; i++) {
      expect(
        await socket.ask({ type: 'subscribe', jobs: i === 0 ? [id] : 'all', after: 'now' }),
      ).toMatchObject({ type: 'subscribed', subscription: `s${i + 1}` });
      if (i % 40 === 39) await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
    expect(await socket.ask({ type: 'subscribe', jobs: 'all' })).toMatchObject({
      error: { code: 'too_many_connections', details: { max: 100 }, retryable: true },
    });
    expect(await socket.ask({ type: 'unsubscribe', subscription: 's7' })).toMatchObject({ type: 'ok' });
    expect(await socket.ask({ type: 'subscribe', jobs: 'all', after: 'now' })).toMatchObject({
      subscription: 's101',
    });
    await account.post(`/v1/jobs/${id}/cancel`);
    const bad: [Record<string, unknown>, string][] = [
      [{ jobs: 'some' }, 'jobs'],
      [{ jobs: [] }, 'jobs'],
      [{ jobs: 7 }, 'jobs'],
      [{ jobs: Array.from({ length: 101 }, () => id) }, 'jobs'],
      [{ jobs: 'all', after: -1 }, 'after'],
      [{ jobs: 'all', after: 1.5 }, 'after'],
      [{ jobs: 'all', after: 'then' }, 'after'],
      [{ jobs: 'all', events: ['job.*.x'] }, 'events.0'],
      [{ jobs: 'all', deltas: true }, 'deltas'],
      [{ jobs: [id], deltas_after: { [id]: { attempt: 0, offset: 1 } } }, `deltas_after.${id}.attempt`],
      [{ jobs: [id], deltas_after: { other: { attempt: 1, offset: 1 } } }, 'deltas_after'],
      [{ jobs: 'all', unknown: 1 }, 'unknown'],
    ];
    for (const [fields, path] of bad)
      expect(
        (await socket.ask({ type: 'subscribe', ...fields })).error?.details.issues[0].path,
        JSON.stringify(fields),
      ).toBe(path);
  }, 30_000);
});

describe('a ref', () => {
  it('is echoed, must be there, and may not be in use', async () => {
    const socket = await open();
    const ref = 'x'.repeat(64);
    expect(await socket.ask({ type: 'ping', ref })).toMatchObject({ type: 'pong', ref });
    socket.say({ type: 'ping', ref: `${ref}x` });
    expect(await socket.until(({ type }) => type === 'error')).toMatchObject({
      ref: null,
      error: { details: { issues: [{ path: 'ref' }] } },
    });
    const from = socket.messages.length;
    socket.say({ type: 'ping' });
    expect(await socket.until(({ type }) => type === 'error', from)).toMatchObject({
      ref: null,
      error: { details: { issues: [{ path: 'ref' }] } },
    });
    const next = socket.messages.length;
    socket.say({ type: 'submit', ref: 'same', job: chat() });
    socket.say({ type: 'ping', ref: 'same' });
    expect(await socket.until(({ type }) => type === 'error', next)).toMatchObject({ ref: null });
    expect(await socket.until((m) => m.ref === 'same', next)).toMatchObject({ type: 'job' });
    expect(await socket.ask({ type: 'ping', ref: 'same' })).toMatchObject({ type: 'pong' });
  });
});

it('is refused without a key, before it is opened', async () => {
  expect(await refusedSocket(millrace.url, {})).toMatchObject({
    status: 401,
    body: { code: 'api_key_missing', path: '/v1/ws' },
  });
});
