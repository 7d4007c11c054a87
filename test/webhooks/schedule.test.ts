// The whole of a delivery's life, by the database's clock: ten calls in three days, what is given up, what is sent again.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CALLS_MAX, RETRY_AFTER_S } from '../../src/domain/webhook.ts';
import type { Json } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { type Receiver, startReceiver, verify } from '../support/receiver.ts';
import { canceledJob, deliveriesOf, delivery, makeEndpoint, shiftClock } from '../support/webhooks.ts';

let millrace: TestPlatform;
let receiver: Receiver;
beforeAll(async () => {
  receiver = await startReceiver();
  millrace = await startPlatform({
    env: { EGRESS_ALLOW: '127.0.0.1', LEASE_MS: '600000', LOG_LEVEL: 'silent' },
    worker: { queues: ['webhooks'] },
  });
});
afterAll(async () => {
  await millrace.stop();
  await receiver.close();
});
let account: TestAccount;
beforeEach(async () => {
  account = await millrace.account();
});

const calls =
  (n: number) =>
  ({ attempts }: Json): boolean =>
    attempts.length === n;

/** The pause after a call, as the delivery shows it. */
function pauseOf({ attempts, next_attempt_at }: Json): number {
  const { at, duration_ms } = attempts.at(-1);
  return (Date.parse(next_attempt_at) - Date.parse(at) - duration_ms) / 1_000;
}

describe('a delivery', () => {
  it('is called ten times, each pause as the table says, and then given up', async () => {
    receiver.answers('/never', 500);
    const { id, secret } = await makeEndpoint(account, receiver.url('/never'));
    await canceledJob(account);
    for (let n = 1; n < CALLS_MAX; n++) {
      const now = await delivery(account, id, calls(n));
      expect(now.status).toBe('pending');
      const [pause, table] = [pauseOf(now), RETRY_AFTER_S[n - 1] as number];
      expect(pause, `after call ${n}`).toBeGreaterThanOrEqual(table * 0.8);
      expect(pause, `after call ${n}`).toBeLessThan(table * 1.2 + 2);
      // Not before its time.
      await shiftClock(millrace, table * 0.8 - 2);
      if (n < 4) expect((await deliveriesOf(account, id))[0].attempts).toHaveLength(n);
      await shiftClock(millrace, table * 0.4 + 4);
    }
    const last = await delivery(account, id, calls(CALLS_MAX));
    expect(last).toMatchObject({ status: 'exhausted', next_attempt_at: null, event_type: 'job.canceled' });
    expect(last.attempts.map(({ n }: Json) => n)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    const times = receiver.at('/never').map((call) => {
      verify(secret, call);
      return call.headers['webhook-id'];
    });
    expect(new Set(times).size).toBe(1);
    expect(times).toHaveLength(10);

    // Again by hand: a new round of ten.
    const again = await account.post(`/v1/deliveries/${last.id}/redeliver`);
    expect([again.status, again.body.status]).toEqual([202, 'pending']);
    const next = await delivery(account, id, calls(11));
    expect(next.status).toBe('pending');
    expect(pauseOf(next)).toBeLessThan(8);
    receiver.answers('/never', 200);
    await account.post(`/v1/deliveries/${last.id}/redeliver`);
    const got = await delivery(account, id, ({ status }) => status === 'delivered');
    expect(got.attempts).toHaveLength(12);
  }, 60_000);
});

describe('an endpoint through which nothing gets', () => {
  it('is told of after an hour, and switched off after five days; switched on, it begins anew', async () => {
    receiver.answers('/failing', 503);
    const { id } = await makeEndpoint(account, receiver.url('/failing'), { events: ['*'] });
    const elsewhere = await makeEndpoint(account, receiver.url('/told'), { events: ['endpoint.*'] });
    const told = () => receiver.at('/told').map(({ event }) => [event.type, event.data['id']]);
    await canceledJob(account);
    await eventually(async () => (await deliveriesOf(account, id)).every(calls(1)), {
      what: 'all were called once',
      withinMs: 20_000,
    });
    await shiftClock(millrace, 3_700);
    await receiver.until('the owner is told', () => told().length === 1);
    expect(told()).toEqual([['endpoint.failing', id]]);
    const warned = (await account.get(`/v1/webhook-endpoints/${id}`)).body;
    expect(warned).toMatchObject({ enabled: true, failing_since: expect.any(String) });
    await shiftClock(millrace, 5 * 86_400);
    await receiver.until('the owner is told again', () => told().length === 2);
    expect(told()[1]).toEqual(['endpoint.disabled', id]);
    const { body: off } = await account.get(`/v1/webhook-endpoints/${id}`);
    expect(off).toMatchObject({ enabled: false, disabled_reason: 'failing' });
    const ended = await deliveriesOf(account, id);
    expect(ended.map(({ status }) => status)).toEqual(['failed', 'failed']);
    // Nothing of its own troubles was ever sent to it.
    expect(receiver.at('/failing').every(({ event }) => event.type.startsWith('job.'))).toBe(true);

    receiver.answers('/failing', 200);
    const { body: on } = await account.send('PATCH', `/v1/webhook-endpoints/${id}`, {
      body: { enabled: true },
    });
    expect(on).toMatchObject({ enabled: true, disabled_reason: null, failing_since: null });
    const { status, body } = await account.post(`/v1/webhook-endpoints/${id}/redeliver`, {
      after: ended.at(-1).created_at,
    });
    expect([status, body]).toEqual([202, { object: 'redelivery', redelivered: 2, next_after: null }]);
    await eventually(
      async () => (await deliveriesOf(account, id)).every(({ status }) => status === 'delivered'),
      { what: 'all got through', withinMs: 20_000 },
    );
    const { data: kept } = (await account.get(`/v1/webhook-endpoints/${elsewhere.id}/deliveries`)).body;
    expect(kept).toHaveLength(2);
  }, 60_000);
});

describe('a span of time', () => {
  it('is sent again as far as it was asked for', async () => {
    receiver.answers('/span', 410);
    const { id } = await makeEndpoint(account, receiver.url('/span'));
    const on = () => account.send('PATCH', `/v1/webhook-endpoints/${id}`, { body: { enabled: true } });
    const all = () => deliveriesOf(account, id, 'order=asc');
    for (let i = 0; i < 3; i++) {
      await canceledJob(account);
      await delivery(account, id, ({ status }) => status === 'failed');
      await eventually(async () => !(await account.get(`/v1/webhook-endpoints/${id}`)).body.enabled, {
        what: 'it is off',
        withinMs: 20_000,
      });
      await on();
      await shiftClock(millrace, 600);
    }
    receiver.answers('/span', 200);
    await canceledJob(account);
    await delivery(account, id, ({ status }) => status === 'delivered');
    const [first, second, third, fourth] = (await all()) as [Json, Json, Json, Json];
    const again = async (body: Record<string, unknown>): Promise<number> => {
      const answer = await account.post(`/v1/webhook-endpoints/${id}/redeliver`, body);
      expect(answer.status).toBe(202);
      await eventually(async () => (await all()).every(({ status }: Json) => status !== 'pending'), {
        what: 'all have ended',
        withinMs: 20_000,
      });
      return answer.body.redelivered;
    };
    const states = async () =>
      (await all()).map(({ status, attempts }: Json) => `${status} ${attempts.length}`);
    expect(await again({ after: second.created_at, before: second.created_at })).toBe(1);
    expect(await states()).toEqual(['failed 1', 'delivered 2', 'failed 1', 'delivered 1']);
    expect(await again({ after: third.created_at })).toBe(1);
    expect(await again({ after: first.created_at, only_failed: false, before: fourth.created_at })).toBe(4);
    expect(await states()).toEqual(['delivered 2', 'delivered 3', 'delivered 3', 'delivered 2']);
    expect(await again({ after: '2020-01-01T00:00:00Z' })).toBe(0);
  }, 60_000);
});

it('is forgotten after a month, with its calls', async () => {
  const { id } = await makeEndpoint(account, receiver.url('/old'));
  await canceledJob(account);
  await delivery(account, id, ({ status }) => status === 'delivered');
  const count = async (): Promise<unknown> =>
    (
      await millrace.sql(
        `select (select count(*)::int from deliveries where endpoint_id = $1) as deliveries,
          (select count(*)::int from delivery_attempts where account_id = $2) as calls`,
        [id, account.id],
      )
    )[0];
  expect(await count()).toEqual({ deliveries: 1, calls: 1 });
  const { ctx } = millrace.platform;
  const { forgetDeliveries } = await import('../../src/flow/forget-deliveries.ts');
  await millrace.sql(`update clock set shift = shift + interval '30 days 23 hours'`);
  await forgetDeliveries(ctx);
  expect(await count()).toEqual({ deliveries: 1, calls: 1 });
  await millrace.sql(`update clock set shift = shift + interval '2 hours'`);
  await forgetDeliveries(ctx);
  expect(await count()).toEqual({ deliveries: 0, calls: 0 });
});
