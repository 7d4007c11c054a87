// What happens comes to whoever wants to hear of it: signed, byte for byte as it is kept, and to nobody else.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chat, type Json } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { startPlatform, type TestPlatform } from '../support/platform.ts';
import { type Receiver, startReceiver, verify } from '../support/receiver.ts';
import { deliveriesOf, delivery, makeEndpoint } from '../support/webhooks.ts';

let millrace: TestPlatform;
let receiver: Receiver;
beforeAll(async () => {
  receiver = await startReceiver();
  millrace = await startPlatform({ env: { EGRESS_ALLOW: '127.0.0.1' } });
});
afterAll(async () => {
  await millrace.stop();
  await receiver.close();
});

describe('an event', () => {
  it('comes as it is kept, says what the polled job says, and is noted', async () => {
    const account = await millrace.account();
    const { id, secret, ...made } = await makeEndpoint(account, receiver.url('/plain'));
    expect(made).toMatchObject({ object: 'webhook_endpoint', enabled: true, payload: 'full' });
    const { id: jobId } = await account.submit({ ...chat('Hello'), metadata: { order: '77' } });
    const job = await account.ended(jobId);
    await receiver.until('it came', () => receiver.at('/plain').length > 0);
    const [got] = receiver.at('/plain') as [Json];
    const event = verify(secret, got) as Json;
    const { data: page } = (await account.get('/v1/events?limit=100', { accept: 'application/json' })).body;
    expect(event).toEqual(page.find((one: Json) => one.id === event.id));
    const [row] = await millrace.sql<{ body: string }>('select body from events where id = $1', [event.id]);
    expect(got.body).toBe(row?.body);
    expect(event).toMatchObject({ type: 'job.succeeded', object: 'event', account_id: account.id });
    const { links, ...data } = event.data;
    expect(job).toMatchObject(data);
    expect(links.self).toBe(`${millrace.url}/v1/jobs/${jobId}`);
    expect(got.headers).toMatchObject({
      'webhook-id': event.id,
      'content-type': 'application/json',
      'user-agent': `Millrace/1 (+${millrace.url}/docs/webhooks)`,
    });
    const noted = await delivery(account, id, ({ status }) => status === 'delivered');
    expect(noted).toMatchObject({
      object: 'delivery',
      event_id: event.id,
      event_type: 'job.succeeded',
      endpoint_id: id,
      next_attempt_at: null,
      attempts: [{ n: 1, http_status: 200, error: null, response_body: 'thank you' }],
    });
    expect((await account.get(`/v1/deliveries/${noted.id}`)).body).toEqual(noted);
  });

  it('comes within a second of its job', async () => {
    const account = await millrace.account();
    await makeEndpoint(account, receiver.url('/soon'));
    for (let i = 0; i < 3; i++) {
      await account.run(chat());
      const ended = performance.now();
      await receiver.until('it came', () => receiver.at('/soon').length > i);
      expect((receiver.at('/soon')[i]?.at ?? Infinity) - ended).toBeLessThan(1_000);
    }
  });

  it('of any sort comes to each endpoint that named it, and to no other', async () => {
    const account = await millrace.account();
    const other = await millrace.account();
    const wishes: Record<string, string[] | undefined> = {
      '/ends': undefined,
      '/all': ['*'],
      '/jobs': ['job.*'],
      '/queued': ['job.queued'],
      '/credits': ['credits.granted'],
      '/both': ['job.canceled', 'credits.*'],
      '/none': ['dispute.lost'],
    };
    for (const [path, events] of Object.entries(wishes))
      await makeEndpoint(account, receiver.url(path), events && { events });
    await makeEndpoint(other, receiver.url('/other'), { events: ['*'] });
    await makeEndpoint(account, receiver.url('/off'), { events: ['*'], enabled: false });
    await account.run(chat());
    const { id: stopped } = await account.submit(chat('x', { sim: { fault: 'hang' } }));
    await account.post(`/v1/jobs/${stopped}/cancel`);
    await account.ended(stopped);
    await millrace.admin.post(`/v1/admin/accounts/${account.id}/grants`, { credits: 5, reason: 'a gift' });
    const came = (path: string) =>
      receiver
        .at(path)
        .map(({ event }) => event.type)
        .toSorted();
    const expected: Record<string, string[]> = {
      '/ends': ['job.canceled', 'job.succeeded'],
      '/all': ['credits.granted', 'job.canceled', 'job.queued', 'job.queued', 'job.succeeded'],
      '/jobs': ['job.canceled', 'job.queued', 'job.queued', 'job.succeeded'],
      '/queued': ['job.queued', 'job.queued'],
      '/credits': ['credits.granted'],
      '/both': ['credits.granted', 'job.canceled'],
    };
    await receiver.until('all came', () =>
      Object.entries(expected).every(([path, types]) => receiver.at(path).length >= types.length),
    );
    for (const [path, types] of Object.entries(expected)) expect(came(path), path).toEqual(types);
    for (const path of ['/none', '/other', '/off']) expect(came(path), path).toEqual([]);
    const ids = receiver.at('/all').map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('comes thin to who wants it so', async () => {
    const account = await millrace.account();
    const { secret } = await makeEndpoint(account, receiver.url('/thin'), { payload: 'thin' });
    const job = await account.run(chat('to be left out'));
    await receiver.until('it came', () => receiver.at('/thin').length > 0);
    const event = verify(secret, receiver.at('/thin')[0] as never) as Json;
    expect(event.data).toEqual({ id: job.id, object: 'job', status: 'succeeded', version: job.version });
    expect(event).toMatchObject({ type: 'job.succeeded', account_id: account.id });
  });
});

describe("a job's own webhook", () => {
  it('hears of its end besides the endpoints, signed with the secret of all such', async () => {
    const account = await millrace.account();
    const { secret } = await makeEndpoint(account, receiver.url('/besides'));
    const webhook = receiver.url('/own?order=77');
    const { id } = await account.submit({ ...chat(), webhook });
    expect((await account.ended(id)).webhook).toBe(webhook);
    expect((await account.run(chat())).webhook).toBe(null);
    await receiver.until('all came', () => receiver.at('/besides').length === 2);
    await receiver.until('its own came', () => receiver.at('/own?order=77').length === 1);
    const { body: forJobs } = await account.get('/v1/webhook-endpoints/for-jobs');
    const [own] = receiver.at('/own?order=77') as [Json];
    const event = verify(forJobs.secret, own) as Json;
    expect(event.data.id).toBe(id);
    const twin = receiver.at('/besides').find((one) => one.id === event.id);
    expect(twin?.body).toBe(own.body);
    expect(() => verify(secret, own)).toThrow();
    const noted = await delivery(account, forJobs.id, ({ status }) => status === 'delivered');
    expect(noted).toMatchObject({ url: webhook, event_id: event.id });
    expect((await account.get('/v1/webhook-endpoints')).body.data).toHaveLength(1);
  });

  it('is there of every item of a batch, and the secret is made before it is needed', async () => {
    const account = await millrace.account();
    const [first, second] = await Promise.all(
      [1, 2].map(() => account.get('/v1/webhook-endpoints/for-jobs')),
    );
    expect(second?.body).toEqual(first?.body);
    const jobs = [1, 2, 3].map((i) => ({ ...chat(), webhook: receiver.url(`/batch/${i}`) }));
    expect((await account.post('/v1/jobs/batch', { jobs })).status).toBe(200);
    await receiver.until('all came', () => [1, 2, 3].every((i) => receiver.at(`/batch/${i}`).length === 1));
    for (const i of [1, 2, 3]) verify(first?.body.secret, receiver.at(`/batch/${i}`)[0] as never);
  });

  it.each([
    ['http://example.com/', 'scheme'],
    ['ftp://example.com/', 'scheme'],
    ['https://user:word@example.com/', 'userinfo'],
    ['https://example.com:25/', 'port'],
    ['https://10.0.0.1/', 'private_address'],
    ['https://[::ffff:169.254.169.254]/', 'private_address'],
    ['not a url', 'malformed'],
  ])('is refused where it may not be called: %s', async (webhook, why) => {
    const account = await millrace.account();
    const refused = await account.post('/v1/jobs', { ...chat(), webhook });
    expect(refused.status).toBe(422);
    expect(refused.body).toMatchObject({ code: 'webhook_url_refused', details: { field: 'webhook', why } });
    const endpoint = await account.post('/v1/webhook-endpoints', { url: webhook });
    expect([endpoint.status, endpoint.body.details]).toEqual([422, { field: 'url', why }]);
    expect((await account.get('/v1/jobs')).body.data).toEqual([]);
  });
});

describe('what is not', () => {
  it('is not delivered: a settlement that is rolled back leaves nothing', async () => {
    const account = await millrace.account();
    const { id } = await makeEndpoint(account, receiver.url('/rolled-back'));
    // The settlement's last statements fail, some times over.
    await millrace.sql(`create function refuse_end() returns trigger language plpgsql as $$ begin
      if new.status = 'succeeded' then raise exception 'not yet'; end if; return new; end $$`);
    await millrace.sql(
      'create trigger refuse_end before update on jobs for each row execute function refuse_end()',
    );
    const { id: jobId } = await account.submit(chat());
    const [{ runs }] = (await eventually(
      async () => {
        const rows = await millrace.sql<{ runs: number }>(
          `select count(*)::int as runs from attempts where job_id = $1 and outcome is not null`,
          [jobId],
        );
        return rows[0] && rows[0].runs > 0 ? rows : null;
      },
      { what: 'its outcome was written in another way', withinMs: 20_000 },
    )) as [{ runs: number }];
    expect(runs).toBeGreaterThan(0);
    await millrace.sql('drop trigger refuse_end on jobs');
    const job = await account.ended(jobId);
    const told = await eventually(
      async () => {
        const list = await deliveriesOf(account, id);
        return list.length > 0 && list.every(({ status }) => status === 'delivered') ? list : null;
      },
      { what: 'its end came', withinMs: 20_000 },
    );
    // One end, one event, one delivery: nothing of those that were rolled back.
    expect(told).toHaveLength(1);
    expect(receiver.at('/rolled-back').map(({ event }) => event.type)).toEqual([`job.${job.status}`]);
  });

  it('is no burden: an account without endpoints has no row of deliveries', async () => {
    const account = await millrace.account();
    await account.run(chat());
    const rows = await millrace.sql('select 1 from deliveries where account_id = $1', [account.id]);
    const ends = await millrace.sql('select 1 from endpoints where account_id = $1', [account.id]);
    expect([rows, ends]).toEqual([[], []]);
  });
});
