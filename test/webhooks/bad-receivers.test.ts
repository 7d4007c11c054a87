// However a receiver answers: nothing is missing, each delivery lands in its right state, and its owner can see why.
import { createServer } from 'node:https';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Json } from '../support/client.ts';
import { CERTIFICATE, KEY } from '../support/certificate.ts';
import { freePort } from '../../src/embedded/port.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { type Answer, ANSWERS, type Receiver, startReceiver, verify } from '../support/receiver.ts';
import { canceledJob, delivery, makeEndpoint } from '../support/webhooks.ts';

let millrace: TestPlatform;
let receiver: Receiver;
beforeAll(async () => {
  receiver = await startReceiver();
  millrace = await startPlatform({
    env: { EGRESS_ALLOW: '127.0.0.1', LEASE_MS: '600000' },
    worker: { queues: ['webhooks'] },
  });
});
afterAll(async () => {
  // First, so that no drain waits for calls that hang.
  await receiver.close();
  await millrace.stop();
});

const once500: Answer = (_, response) => response.writeHead(500).end('no\0t now');
const redirect: Answer = (_, response) =>
  response.writeHead(301, { location: 'http://127.0.0.1:1/elsewhere' }).end();

/** How it behaves at first, and what the log of its first call says. All are well again for the second. */
const CASES: Record<string, { answer: Answer | number; call: Record<string, unknown> }> = {
  dies: { answer: ANSWERS.die, call: { http_status: null, error: expect.stringContaining('ECONNRESET') } },
  resets: {
    answer: ANSWERS.reset,
    call: { http_status: null, error: expect.stringContaining('ECONNRESET') },
  },
  hangs: { answer: ANSWERS.hang, call: { http_status: null, error: 'timeout', response_body: null } },
  'answers 301': {
    answer: redirect,
    call: { http_status: 301, error: 'redirect, which is not followed: http://127.0.0.1:1/elsewhere' },
  },
  'answers 404': { answer: 404, call: { http_status: 404, error: 'status', response_body: 'no: 404' } },
  'answers 429': { answer: 429, call: { http_status: 429, error: 'status', response_body: 'no: 429' } },
  'answers 500': { answer: once500, call: { http_status: 500, error: 'status', response_body: 'not now' } },
};

describe.concurrent('a receiver that', () => {
  it.each(Object.keys(CASES))(
    '%s at first is called again and gets the same event',
    async (name) => {
      const { answer, call } = CASES[name] as (typeof CASES)[string];
      const path = `/bad/${name.replace(' ', '-')}`;
      receiver.answers(path, answer);
      const account = await millrace.account();
      const { id, secret } = await makeEndpoint(account, receiver.url(path));
      await canceledJob(account);
      const noted = await delivery(account, id, ({ attempts }) => attempts.length === 1);
      receiver.answers(path, 204);
      expect(noted).toMatchObject({ status: 'pending', attempts: [call] });
      const { at, duration_ms } = noted.attempts[0];
      expect(Date.parse(noted.next_attempt_at) - Date.parse(at) - duration_ms).toBeGreaterThanOrEqual(4_000);
      expect((await account.get(`/v1/webhook-endpoints/${id}`)).body.failing_since).not.toBe(null);

      const { attempts } = await delivery(account, id, ({ status }) => status === 'delivered');
      expect(attempts.at(-1)).toMatchObject({ http_status: 204, error: null });
      const calls = receiver.at(path);
      expect(calls).toHaveLength(2);
      expect(new Set(calls.map(({ id }) => id)).size).toBe(1);
      expect(new Set(calls.map(({ body }) => body)).size).toBe(1);
      for (const one of calls) verify(secret, one);
      const { body } = await account.get(`/v1/webhook-endpoints/${id}`);
      expect(body).toMatchObject({ failing_since: null, enabled: true });
    },
    60_000,
  );

  it('answers 10 GiB has got it, and 64 KiB of that are kept', async () => {
    const account = await millrace.account();
    receiver.answers('/endless', ANSWERS.endless);
    const { id } = await makeEndpoint(account, receiver.url('/endless'));
    const before = process.memoryUsage().rss;
    await canceledJob(account);
    const { id: deliveryId, attempts } = await delivery(account, id, ({ status }) => status === 'delivered');
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1024 ** 2);
    expect(attempts[0].response_body).toHaveLength(1_024);
    const { body } = await account.get(`/v1/deliveries/${deliveryId}`);
    expect(body.attempts[0].response_body).toBe('x'.repeat(64 * 1024));
  });

  it('answers byte by byte is not waited for past its time', async () => {
    const account = await millrace.account();
    receiver.answers('/trickle', ANSWERS.trickle);
    const { id } = await makeEndpoint(account, receiver.url('/trickle'));
    await canceledJob(account);
    const { attempts } = await delivery(account, id, ({ attempts: [first] }) => first !== undefined);
    expect(attempts[0].duration_ms).toBeGreaterThan(14_000);
    expect(attempts[0].duration_ms).toBeLessThan(20_000);
  }, 40_000);

  it('is not there, or has no certificate that we trust, is called again', async () => {
    const account = await millrace.account();
    const tls = createServer({ key: KEY, cert: CERTIFICATE }, (_, response) => response.end());
    tls.listen(0, '127.0.0.1');
    await once(tls, 'listening');
    const { port } = tls.address() as AddressInfo;
    const nobody = await makeEndpoint(account, `http://127.0.0.1:${await freePort()}/`);
    const untrusted = await makeEndpoint(account, `https://127.0.0.1:${port}/`);
    await canceledJob(account);
    const refused = await delivery(account, nobody.id, ({ attempts }) => attempts.length === 1);
    expect(refused).toMatchObject({ status: 'pending', attempts: [{ http_status: null }] });
    expect(refused.attempts[0].error).toContain('ECONNREFUSED');
    const distrusted = await delivery(account, untrusted.id, ({ attempts }) => attempts.length === 1);
    expect(distrusted.status).toBe('pending');
    expect(distrusted.attempts[0].error).toMatch(/ETLS|certificate|self.signed/i);
    tls.close();
  });

  it('answers 410 is called no more, and its owner is told elsewhere', async () => {
    const account = await millrace.account();
    receiver.answers('/gone', 410);
    const elsewhere = await makeEndpoint(account, receiver.url('/elsewhere'), { events: ['endpoint.*'] });
    const { id } = await makeEndpoint(account, receiver.url('/gone'), { events: ['*'] });
    await canceledJob(account);
    const gone = await switchedOff(account, id);
    expect(gone).toMatchObject({ enabled: false, disabled_reason: 'gone' });
    await receiver.until('the owner was told', () => receiver.at('/elsewhere').length === 1);
    const event = verify(elsewhere.secret, receiver.at('/elsewhere')[0] as never) as Json;
    expect(event).toMatchObject({
      type: 'endpoint.disabled',
      data: { id, object: 'endpoint', status: 'disabled', reason: 'gone' },
    });
    const calls = receiver.at('/gone').length;
    await canceledJob(account);
    const { data } = (await account.get(`/v1/webhook-endpoints/${id}/deliveries`)).body;
    for (const { status, next_attempt_at } of data)
      expect([status, next_attempt_at]).toEqual(['failed', null]);
    expect(receiver.at('/gone')).toHaveLength(calls);
    for (const { event: heard } of receiver.at('/gone')) expect(heard.type).toMatch(/^job\./);

    // Switched on again, what was given up can be had.
    receiver.answers('/gone', 200);
    const again = await account.post(`/v1/deliveries/${data[0].id}/redeliver`);
    expect([again.status, again.body.code]).toEqual([400, 'invalid_request']);
    await account.send('PATCH', `/v1/webhook-endpoints/${id}`, { body: { enabled: true } });
    expect((await account.post(`/v1/deliveries/${data[0].id}/redeliver`)).status).toBe(202);
    await delivery(account, id, ({ status }) => status === 'delivered');
    // Events of endpoints are numbered as all are.
    expect((await millrace.admin.get('/v1/admin/invariants')).body).toMatchObject({ ok: true, breaches: [] });
  });

  it('is called again later where its secret cannot be opened, which is our fault', async () => {
    const account = await millrace.account();
    const { id } = await makeEndpoint(account, receiver.url('/sealed'));
    const [kept] = await millrace.sql<{ secret: Buffer }>('select secret from endpoints where id = $1', [id]);
    await millrace.sql('update endpoints set secret = $2 where id = $1', [id, Buffer.alloc(80)]);
    await canceledJob(account);
    const noted = await delivery(account, id, ({ attempts }) => attempts.length === 1);
    expect(noted).toMatchObject({ status: 'pending', attempts: [{ error: 'our fault', http_status: null }] });
    await millrace.sql('update endpoints set secret = $2 where id = $1', [id, kept?.secret]);
    await delivery(account, id, ({ status }) => status === 'delivered');
  });

  it("answers 410 to one job's webhook ends that, and no other job's", async () => {
    const account = await millrace.account();
    receiver.answers('/own-gone', 410);
    const { body: forJobs } = await account.get('/v1/webhook-endpoints/for-jobs');
    await canceledJob(account, { webhook: receiver.url('/own-gone') });
    const given = await delivery(account, forJobs.id, ({ attempts }) => attempts.length === 1);
    expect(given).toMatchObject({ status: 'failed', attempts: [{ http_status: 410, error: 'gone' }] });
    await canceledJob(account, { webhook: receiver.url('/own-well') });
    await receiver.until('the other came', () => receiver.at('/own-well').length === 1);
  });
});

async function switchedOff(account: TestAccount, id: string): Promise<Json> {
  let endpoint: Json = null;
  for (let i = 0; i < 600 && endpoint?.enabled !== false; i++)
    endpoint = (await account.get(`/v1/webhook-endpoints/${id}?`)).body;
  return endpoint;
}
