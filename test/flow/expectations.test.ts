// What clients are told to expect: how long a job will take, where it will stand, when to come again, whom to ask.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { chat } from '../support/client.ts';
import { answered, type Hands, openHands } from '../support/hands.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';

const SUPPORT = 'https://help.example/millrace';
let millrace: TestPlatform;
let hands: Hands;
let worker: { id: string };
beforeAll(async () => {
  millrace = await startPlatform({ worker: false, env: { SUPPORT_URL: SUPPORT } });
  hands = openHands(millrace);
  worker = await hands.worker();
});
afterAll(() => millrace.stop());

/** Twenty jobs that ended well, after so long a run; past the API, which remembers for a while what it expects. */
async function history(account: TestAccount, runs: string): Promise<void> {
  for (let done = 0; done < 20;) {
    const requests = await Promise.all(
      Array.from({ length: 10 }, () => hands.request(account, chat('past'))),
    );
    await hands.admit({ requests, atomic: false });
    const claimed = await hands.claim(account, worker.id);
    await Promise.all(claimed.map((job) => hands.settle(answered(job))));
    done += claimed.length;
  }
  await millrace.sql('update jobs set started_at = ended_at - $2::interval where account_id = $1', [
    account.id,
    runs,
  ]);
}
const change = (account: TestAccount, body: object) =>
  millrace.admin.send('PATCH', `/v1/admin/accounts/${account.id}`, { body: { reason: 'test', ...body } });

it('an estimate is by the database’s clock, however far the API’s is from it', async () => {
  await millrace.sql(`update clock set shift = interval '3 hours'`);
  try {
    const account = await millrace.account();
    await history(account, '60 seconds');
    const { id } = await account.submit(chat('now'));
    await hands.claim(account, worker.id);
    const { body } = await account.get(`/v1/jobs/${id as string}`);
    expect(body.status).toBe('running');
    expect(body.eta_ms).toBeGreaterThan(0);
    expect(body.eta_ms).toBeLessThanOrEqual(60_000);
  } finally {
    await millrace.sql(`update clock set shift = interval '0'`);
  }
});

it('a full line says when it will have drained', async () => {
  const account = await millrace.account();
  await history(account, '7 seconds');
  await change(account, { overrides: { slots: 2, line_length: 5 } });
  for (let i = 0; i < 7; i++) await account.submit(chat('fills'));
  const { status, body, headers } = await account.post('/v1/jobs', chat('no room'));
  expect({ status, body }).toMatchObject({
    status: 429,
    body: { code: 'queue_full', details: { waiting: 5, max: 5 } },
  });
  // Five jobs, two at a time, 7 s each.
  expect(headers).toMatchObject({ 'retry-after': '18', 'retry-after-ms': '18000' });
});

it('a full line says so in bounds, and a second where nothing is known', async () => {
  const slow = await millrace.account();
  await history(slow, '10 minutes');
  const fresh = await millrace.account();
  for (const [account, seconds] of [
    [slow, '60'],
    [fresh, '1'],
  ] as const) {
    await change(account, { overrides: { slots: 1, line_length: 1 } });
    for (let i = 0; i < 2; i++) await account.submit(chat('fills'));
    const { headers } = await account.post('/v1/jobs', chat('no room'));
    expect(headers['retry-after']).toBe(seconds);
  }
});

it('a quote’s place is that of its priority, and so is the place the job then gets', async () => {
  const account = await millrace.account({ overrides: { slots: 1 } });
  const submit = (priority: string) => account.submit({ ...chat(priority), priority });
  await submit('normal');
  for (const priority of ['high', 'normal', 'normal', 'low']) await submit(priority);
  for (const [priority, position] of [
    ['low', 4],
    ['normal', 3],
    ['high', 1],
  ] as const) {
    const job = { ...chat('asks'), priority };
    const { body: quote } = await account.post('/v1/jobs?dry_run=true', job);
    expect(quote.queue).toEqual({ position, waiting_for: 'slot' });
    const { id, queue } = await account.submit(job);
    expect(queue).toEqual(quote.queue);
    await account.post(`/v1/jobs/${id as string}/cancel`);
  }
});

it('places in a list are read as the client, under the row policies', async () => {
  const account = await millrace.account({ overrides: { slots: 1 } });
  for (let i = 0; i < 4; i++) await account.submit(chat('waits'));
  await millrace.sql('revoke select on jobs from millrace_flow');
  try {
    const { status, body } = await account.get('/v1/jobs');
    expect(status).toBe(200);
    const places = body.data.map(({ queue }: { queue: { position: number } }) => queue.position);
    expect(places).toEqual([2, 1, 0, 0]);
  } finally {
    await millrace.sql('grant select on jobs to millrace_flow');
  }
});

it('a suspended or closed account is told since when and whom to ask, never why', async () => {
  const account = await millrace.account();
  const before = Date.now();
  const refused = async () => (await account.post('/v1/jobs', chat('no'))).body;
  await change(account, { status: 'suspended' });
  const body = await refused();
  expect(body).toMatchObject({ code: 'account_suspended', details: { support_url: SUPPORT } });
  expect(Object.keys(body.details).toSorted()).toEqual(['since', 'support_url']);
  expect(Date.parse(body.details.since)).toBeGreaterThanOrEqual(before - 1_000);
  // Another change of it is not another suspension.
  await change(account, { status: 'suspended', overrides: { slots: 3 } });
  expect((await refused()).details).toEqual(body.details);
  await change(account, { status: 'closed' });
  const closed = (await account.get('/v1/account')).body;
  expect(closed).toMatchObject({ code: 'account_closed', details: { support_url: SUPPORT } });
  expect(Date.parse(closed.details.since)).toBeGreaterThan(Date.parse(body.details.since));
});
