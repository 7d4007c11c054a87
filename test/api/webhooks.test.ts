// Webhook endpoints, as their owner makes, changes, tries and deletes them.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Json } from '../support/client.ts';
import { makeAccount, startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { ANSWERS, type Receiver, startReceiver, verify } from '../support/receiver.ts';
import { canceledJob, deliveriesOf, delivery, makeEndpoint } from '../support/webhooks.ts';

let millrace: TestPlatform;
let receiver: Receiver;
let account: TestAccount;
beforeAll(async () => {
  receiver = await startReceiver();
  millrace = await startPlatform({
    env: { EGRESS_ALLOW: '127.0.0.1', LEASE_MS: '600000' },
    worker: { queues: ['webhooks'] },
  });
});
afterAll(async () => {
  await receiver.close();
  await millrace.stop();
});
beforeEach(async () => {
  account = await makeAccount(millrace.url, millrace.admin);
});

const ENDS = ['job.succeeded', 'job.failed', 'job.canceled', 'job.expired'];
const patch = (id: string, body: unknown) => account.send('PATCH', `/v1/webhook-endpoints/${id}`, { body });

describe('an endpoint', () => {
  it('is made with a secret that is shown once, and kept sealed', async () => {
    const { secret, ...made } = await makeEndpoint(account, receiver.url('/made'));
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect(made).toEqual({
      id: expect.stringMatching(/^whe_/),
      object: 'webhook_endpoint',
      url: receiver.url('/made'),
      events: ENDS,
      description: '',
      payload: 'full',
      enabled: true,
      disabled_reason: null,
      disabled_at: null,
      failing_since: null,
      old_secret_until: null,
      created_at: expect.any(String),
    });
    expect((await account.get(`/v1/webhook-endpoints/${made.id}`)).body).toEqual(made);
    expect((await account.get('/v1/webhook-endpoints')).body.data).toEqual([made]);
    const [row] = await millrace.sql<{ secret: Buffer }>('select secret from endpoints where id = $1', [
      made.id,
    ]);
    expect(row?.secret.toString('latin1')).not.toContain(
      Buffer.from(secret.slice(6), 'base64').toString('latin1'),
    );
    expect(row?.secret.toString('latin1')).not.toContain(secret);
  });

  it('is refused with events, payloads and fields that there are not', async () => {
    const url = receiver.url('/');
    for (const [form, path] of [
      [{ url, events: ['*', 'job.suceeded'] }, 'events.1'],
      [{ url, events: ['JOB'] }, 'events.0'],
      [{ url, events: [] }, 'events'],
      [{ url, payload: 'huge' }, 'payload'],
      [{ url, secret: 'mine' }, 'secret'],
      [{}, 'url'],
      [{ url: '' }, 'url'],
    ] as const) {
      const { status, body } = await account.post('/v1/webhook-endpoints', form);
      expect([status, body.code, body.details.issues?.[0]?.path], JSON.stringify(form)).toEqual([
        400,
        'invalid_request',
        path,
      ]);
    }
    expect((await account.get('/v1/webhook-endpoints')).body.data).toEqual([]);
  });

  it('is one of twenty at most, also of those that are asked for at once', async () => {
    const all = await Promise.all(
      Array.from({ length: 24 }, (_, i) =>
        account.post('/v1/webhook-endpoints', { url: receiver.url(`/${i}`), events: ['job.failed'] }),
      ),
    );
    const made = all.filter(({ status }) => status === 201);
    expect(made).toHaveLength(20);
    const refused = all.find(({ status }) => status !== 201);
    expect(refused?.body).toMatchObject({
      code: 'invalid_request',
      message: expect.stringContaining('delete one'),
    });
    await account.send('DELETE', `/v1/webhook-endpoints/${made[0]?.body.id}`);
    await makeEndpoint(account, receiver.url('/after'));
  });

  it('is changed in what is named, and what is called next is called as it is then', async () => {
    const { id } = await makeEndpoint(account, receiver.url('/before'), { description: 'first' });
    receiver.answers('/before', 500);
    await canceledJob(account);
    await delivery(account, id, ({ attempts }) => attempts.length === 1);
    const { body } = await patch(id, { url: receiver.url('/moved'), payload: 'thin' });
    expect(body).toMatchObject({
      url: receiver.url('/moved'),
      payload: 'thin',
      description: 'first',
      events: ENDS,
    });
    await delivery(account, id, ({ status }) => status === 'delivered');
    const [got] = receiver.at('/moved') as [Json];
    expect(Object.keys(got.event.data).toSorted()).toEqual(['id', 'object', 'status', 'version']);
    for (const bad of [{}, { url: 'http://example.com' }, { events: ['x'] }])
      expect((await patch(id, bad)).status, JSON.stringify(bad)).toBeGreaterThanOrEqual(400);
    expect((await patch(id, { events: ['*'], description: '' })).body).toMatchObject({
      events: ['*'],
      description: '',
      payload: 'thin',
    });
  });

  it('that is switched off or deleted gets nothing more, and its log stays', async () => {
    receiver.answers('/leaving', 500);
    const { id } = await makeEndpoint(account, receiver.url('/leaving'));
    await canceledJob(account);
    const { id: deliveryId } = await delivery(account, id, ({ attempts }) => attempts.length === 1);
    const { body: off } = await patch(id, { enabled: false });
    expect(off).toMatchObject({ enabled: false, disabled_reason: 'client', disabled_at: expect.any(String) });
    const [ended] = await deliveriesOf(account, id);
    expect(ended).toMatchObject({ status: 'failed', next_attempt_at: null, ended_at: expect.any(String) });
    await canceledJob(account);
    expect(await deliveriesOf(account, id)).toHaveLength(1);
    expect((await patch(id, { enabled: true })).body).toMatchObject({ enabled: true, disabled_at: null });
    await canceledJob(account);
    await delivery(account, id, ({ attempts }) => attempts.length === 1);
    expect((await account.send('DELETE', `/v1/webhook-endpoints/${id}`)).status).toBe(204);
    expect((await account.send('DELETE', `/v1/webhook-endpoints/${id}`)).status).toBe(404);
    expect((await account.get(`/v1/webhook-endpoints/${id}`)).status).toBe(404);
    expect((await account.get(`/v1/deliveries/${deliveryId}`)).body.attempts).toHaveLength(1);
    expect((await account.post(`/v1/deliveries/${deliveryId}/redeliver`)).status).toBe(404);
    const rows = await millrace.sql(
      `select status, next_attempt_at as next from deliveries where endpoint_id = $1`,
      [id],
    );
    expect(rows).toEqual(Array.from({ length: 2 }, () => ({ status: 'failed', next: null })));
    const [kept] = await millrace.sql('select secret, old_secret from endpoints where id = $1', [id]);
    expect(kept).toEqual({ secret: null, old_secret: null });
  });
});

describe('a secret', () => {
  it('that is changed signs for a day beside its successor', async () => {
    const { id, secret: old } = await makeEndpoint(account, receiver.url('/rotated'));
    const { status, body } = await account.post(`/v1/webhook-endpoints/${id}/rotate`);
    expect([status, body.id]).toEqual([200, id]);
    const { secret } = body;
    expect(secret).not.toBe(old);
    const until = Date.parse(body.old_secret_until) - Date.now();
    expect(Math.abs(until - 86_400_000)).toBeLessThan(60_000);
    await canceledJob(account);
    await receiver.until('it came', () => receiver.at('/rotated').length === 1);
    const [both] = receiver.at('/rotated') as [Json];
    expect(both.headers['webhook-signature'].split(' ')).toHaveLength(2);
    for (const key of [old, secret]) verify(key, both);
    await millrace.sql(
      `update endpoints set old_secret_until = old_secret_until - interval '25 hours' where id = $1`,
      [id],
    );
    await canceledJob(account);
    await receiver.until('another came', () => receiver.at('/rotated').length === 2);
    const [, one] = receiver.at('/rotated') as [Json, Json];
    expect(one.headers['webhook-signature'].split(' ')).toHaveLength(1);
    verify(secret, one);
    expect(() => verify(old, one)).toThrow();
  });

  it("of single jobs' webhooks is shown, and changed, but the rest is not theirs to change", async () => {
    const { body: first } = await account.get('/v1/webhook-endpoints/for-jobs');
    expect(first).toMatchObject({ object: 'webhook_endpoint', url: null, enabled: true });
    const { body } = await account.post(`/v1/webhook-endpoints/${first.id}/rotate`);
    expect((await account.get('/v1/webhook-endpoints/for-jobs')).body.secret).toBe(body.secret);
    expect((await patch(first.id, { enabled: false })).body.code).toBe('invalid_request');
    expect((await account.send('DELETE', `/v1/webhook-endpoints/${first.id}`)).status).toBe(400);
    expect((await account.post(`/v1/webhook-endpoints/${first.id}/test`)).status).toBe(400);
  });
});

describe('the test button', () => {
  it('sends a signed event that is told nobody else, and says what came back', async () => {
    const { id, secret } = await makeEndpoint(account, receiver.url('/button'), { enabled: false });
    const { status, body } = await account.post(`/v1/webhook-endpoints/${id}/test`);
    expect([status, body]).toEqual([
      200,
      {
        object: 'webhook_test',
        event_id: expect.stringMatching(/^ev_/),
        delivered: true,
        duration_ms: expect.any(Number),
        http_status: 200,
        error: null,
        response_body: 'thank you',
      },
    ]);
    const event = verify(secret, receiver.at('/button')[0] as never) as Json;
    expect(event).toMatchObject({ id: body.event_id, type: 'endpoint.test', account_id: account.id });
    expect(await deliveriesOf(account, id)).toEqual([]);
    receiver.answers('/button', 418);
    expect((await account.post(`/v1/webhook-endpoints/${id}/test`)).body).toMatchObject({
      delivered: false,
      http_status: 418,
      error: 'status',
      response_body: 'no: 418',
    });
  });

  it('is pressed once at a time', async () => {
    receiver.answers('/slow-button', ANSWERS.hang);
    const { id } = await makeEndpoint(account, receiver.url('/slow-button'));
    const first = account.post(`/v1/webhook-endpoints/${id}/test`);
    await receiver.until('it was called', () => receiver.at('/slow-button').length === 1);
    const second = await account.post(`/v1/webhook-endpoints/${id}/test`);
    expect([second.status, second.body.code]).toEqual([409, 'conflict']);
    receiver.answers('/slow-button', 200);
    expect((await first).body).toMatchObject({ delivered: false, error: 'timeout', http_status: null });
    expect((await account.post(`/v1/webhook-endpoints/${id}/test`)).body.delivered).toBe(true);
  }, 40_000);
});

describe('deliveries', () => {
  it('are listed in pages and by status', async () => {
    const { id } = await makeEndpoint(account, receiver.url('/listed'));
    for (let i = 0; i < 5; i++) await canceledJob(account);
    await receiver.until('all came', () => receiver.at('/listed').length === 5);
    await delivery(account, id, ({ status }) => status === 'delivered');
    const at = `/v1/webhook-endpoints/${id}/deliveries`;
    const all = (await account.get(at)).body.data.map((one: Json) => one.id);
    expect(all).toEqual(all.toSorted().toReversed());
    const { body: first } = await account.get(`${at}?limit=2`);
    expect(first).toMatchObject({ has_more: true, next_after: all[1] });
    const { body: rest } = await account.get(`${at}?limit=3&after=${all[1]}`);
    expect(rest.data.map((one: Json) => one.id)).toEqual(all.slice(2));
    expect((await account.get(`${at}?before=${all[4]}&limit=1&order=asc`)).body.data).toEqual([]);
    expect((await account.get(`${at}?status=exhausted`)).body.data).toEqual([]);
    expect((await account.get(`${at}?status=lost`)).status).toBe(400);
  });
});
