// Who calls whom, and how much at once: however bad one receiver is, the others never notice; and no worker's death loses anything.
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startDelivering } from '../../src/workers/deliver.ts';
import { chat } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { install, runPlatform, startPlatform, type TestPlatform } from '../support/platform.ts';
import { ANSWERS, type Receiver, startReceiver } from '../support/receiver.ts';
import { spawnWorker } from '../support/spawn.ts';
import { canceledJob, deliveriesOf, delivery, makeEndpoint, shiftClock } from '../support/webhooks.ts';

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

describe('a receiver', () => {
  it('is called four times at once at most, whoever calls, and the others meanwhile as if it were not there', async () => {
    await Promise.all([1, 2].map(() => millrace.addWorker({ queues: ['webhooks'] })));
    const bad = await millrace.account();
    const good = await millrace.account();
    receiver.answers('/hanging', ANSWERS.hang);
    const hanging = await makeEndpoint(bad, receiver.url('/hanging'));
    const beside = await makeEndpoint(bad, receiver.url('/beside'));
    await makeEndpoint(good, receiver.url('/good'));
    await Promise.all(Array.from({ length: 30 }, () => canceledJob(bad)));
    await receiver.until('four hang', () => receiver.open('/hanging').now === 4);
    await receiver.until('the other endpoint has all', () => receiver.at('/beside').length === 30);
    for (let i = 0; i < 10; i++) {
      const from = performance.now();
      await canceledJob(good);
      await receiver.until('it came', () => receiver.at('/good').length > i);
      expect(performance.now() - from).toBeLessThan(1_000);
    }
    expect(receiver.open('/hanging')).toEqual({ now: 4, most: 4 });
    expect((await deliveriesOf(bad, beside.id)).map(({ attempts }) => attempts.length)).toEqual(
      Array.from({ length: 30 }, () => 1),
    );
    // Well again, it gets everything, once those that hang are given up; still four at a time.
    receiver.answers('/hanging', (_, response) => void setTimeout(() => response.end(), 20));
    await receiver.until('all came', () => receiver.at('/hanging').length >= 30, 40_000);
    await receiver.until('nothing is open', () => receiver.open('/hanging').now === 0);
    await shiftClock(millrace, 10);
    await receiver.until('also those that hung', () => receiver.at('/hanging').length === 34);
    expect(receiver.open('/hanging').most).toBe(4);
    expect(new Set(receiver.at('/hanging').map(({ id }) => id)).size).toBe(30);
    await delivery(bad, hanging.id, ({ status }) => status === 'delivered');
  }, 90_000);

  it('for whom 50,000 wait, and who hangs, delays nobody', async () => {
    const bad = await millrace.account();
    const good = await millrace.account();
    receiver.answers('/heavy', ANSWERS.hang);
    const { id } = await makeEndpoint(bad, receiver.url('/heavy'));
    await canceledJob(bad);
    await receiver.until('one hangs', () => receiver.open('/heavy').now === 1);
    await millrace.sql(
      `insert into deliveries (account_id, event_sequence, endpoint_id, lane, next_attempt_at, created_at)
        select d.account_id, 1000000 + i, d.endpoint_id, d.lane, d.created_at - interval '1 hour' + i * interval '1 ms', d.created_at
        from deliveries d, generate_series(1, 50000) i where d.endpoint_id = $1`,
      [id],
    );
    await makeEndpoint(good, receiver.url('/light'));
    for (let i = 0; i < 5; i++) {
      const from = performance.now();
      await canceledJob(good);
      await receiver.until('it came', () => receiver.at('/light').length > i);
      expect(performance.now() - from).toBeLessThan(1_000);
    }
    await millrace.sql('delete from deliveries where endpoint_id = $1', [id]);
  }, 60_000);

  it("of single jobs is held apart by its host, so that a strange one does not delay one's own", async () => {
    const account = await millrace.account();
    const other = await startReceiver();
    receiver.answers('/own-hanging', ANSWERS.hang);
    for (let i = 0; i < 6; i++) await canceledJob(account, { webhook: receiver.url('/own-hanging') });
    await receiver.until('four hang', () => receiver.open('/own-hanging').now === 4);
    for (let i = 0; i < 6; i++) await canceledJob(account, { webhook: other.url('/own') });
    await other.until('all of the other came', () => other.at('/own').length === 6, 10_000);
    expect(receiver.open('/own-hanging')).toEqual({ now: 4, most: 4 });
    await other.close();
  }, 30_000);
});

it('an account whose row is held while its endpoint is to be switched off keeps no other waiting', async () => {
  const other = await startPlatform({ env: { EGRESS_ALLOW: '127.0.0.1' }, worker: { queues: ['webhooks'] } });
  const [held, free] = [await other.account(), await other.account()];
  const answers: (() => void)[] = [];
  receiver.answers('/goes', (_, response) => void answers.push(() => response.writeHead(410).end()));
  const gone = await makeEndpoint(held, receiver.url('/goes'));
  const { id } = await makeEndpoint(free, receiver.url('/stays'));
  await canceledJob(held);
  await receiver.until('it is called', () => answers.length === 1);
  const holder = new pg.Client({ connectionString: other.env['DATABASE_URL'] as string });
  await holder.connect();
  await holder.query('begin');
  await holder.query('select from accounts where id = $1 for update', [held.id]);
  answers[0]?.();
  await delivery(held, gone.id, ({ status }) => status === 'failed');
  for (let i = 0; i < 3; i++) {
    const from = performance.now();
    await canceledJob(free);
    await eventually(async () => (await deliveriesOf(free, id, 'status=delivered')).length > i, {
      what: 'what came of it is written',
      withinMs: 30_000,
    });
    expect(performance.now() - from).toBeLessThan(5_000);
  }
  await holder.end();
  await eventually(
    async () => (await held.get(`/v1/webhook-endpoints/${gone.id}`)).body.disabled_reason === 'gone',
    { what: 'it is switched off', withinMs: 20_000 },
  );
  await other.stop();
}, 90_000);

it('an account whose single jobs name any number of hosts, all of which hang, leaves room for others', async () => {
  const other = await startPlatform({ env: { EGRESS_ALLOW: '127.0.0.1' }, worker: { queues: ['chat'] } });
  const [bad, good] = [await other.account(), await other.account()];
  receiver.answers('/many-hosts', ANSWERS.hang);
  await canceledJob(bad, { webhook: receiver.url('/many-hosts') });
  // As if 40 jobs had named 40 hosts.
  await other.sql(
    `insert into deliveries (account_id, event_sequence, endpoint_id, url, lane, next_attempt_at, created_at)
      select d.account_id, d.event_sequence + 1000 + i, d.endpoint_id, d.url, d.endpoint_id || ' host-' || i, d.next_attempt_at, d.created_at
      from deliveries d, generate_series(1, 40) i`,
  );
  // The event is one that is kept, for those calls to be made.
  await other.sql(
    `insert into events (account_id, sequence, id, type, job_id, body, created_at)
      select d.account_id, d.event_sequence, 'ev_' || d.event_sequence, e.type, e.job_id, e.body, e.created_at
      from deliveries d join events e on e.account_id = d.account_id and e.created_at = d.created_at and e.type = 'job.canceled'
      where d.lane like '% host-%'`,
  );
  const delivering = startDelivering(other.platform.ctx, { concurrency: 8 });
  await receiver.until('it is called', () => receiver.open('/many-hosts').now === 2);
  await makeEndpoint(good, receiver.url('/few-hosts'));
  for (let i = 0; i < 5; i++) {
    const from = performance.now();
    await canceledJob(good);
    await receiver.until('it came', () => receiver.at('/few-hosts').length > i);
    expect(performance.now() - from).toBeLessThan(1_000);
  }
  expect(receiver.open('/many-hosts')).toEqual({ now: 2, most: 2 });
  // What ended makes room for its other hosts at once, however many these are.
  receiver.answers('/many-hosts', (_, response) => void response.end());
  await receiver.until('all of its hosts', () => receiver.at('/many-hosts').length >= 41, 45_000);
  await delivering.drain(20_000);
  await other.stop();
}, 90_000);

describe('a worker', () => {
  it('that is killed in the middle of a call leaves it to another', async () => {
    const installation = await install('postgres', { EGRESS_ALLOW: '127.0.0.1', LEASE_MS: '600000' });
    const other = await runPlatform(installation, { worker: false });
    const account = await other.account();
    receiver.answers('/killed', ANSWERS.hang);
    const { id } = await makeEndpoint(account, receiver.url('/killed'));
    await canceledJob(account);
    const worker = await spawnWorker(installation, { queues: 'webhooks' });
    await receiver.until('it is called', () => receiver.at('/killed').length === 1);
    await worker.kill();
    receiver.answers('/killed', 200);
    const survivor = await other.addWorker({ queues: ['webhooks'] });
    expect(receiver.at('/killed')).toHaveLength(1);
    await shiftClock(other, 26);
    const { attempts } = await delivery(account, id, ({ status }) => status === 'delivered');
    // The first was never answered, so all there is to say of it is that it was made.
    expect(attempts.map(({ n }: { n: number }) => n)).toEqual([2]);
    expect(new Set(receiver.at('/killed').map((call) => call.id)).size).toBe(1);
    await survivor.stop();
    await other.stop();
  }, 60_000);

  it('that drains waits for its calls, takes none, and leaves the rest', async () => {
    const installation = await install('postgres', { EGRESS_ALLOW: '127.0.0.1' });
    const other = await runPlatform(installation, { worker: false });
    const account = await other.account();
    receiver.answers('/drained', ANSWERS.hang);
    const { id } = await makeEndpoint(account, receiver.url('/drained'));
    for (let i = 0; i < 6; i++) await canceledJob(account);
    const worker = await spawnWorker(installation, { queues: 'webhooks' });
    await receiver.until('four hang', () => receiver.open('/drained').now === 4);
    const ended = worker.drain();
    expect(await ended).toBe(0);
    const list = await deliveriesOf(account, id);
    expect(list.map(({ attempts }) => attempts.length).toSorted()).toEqual([0, 0, 1, 1, 1, 1]);
    expect(receiver.at('/drained')).toHaveLength(4);
    await other.stop();
  }, 60_000);

  it('is missed where nobody brings webhooks', async () => {
    const other = await startPlatform({ worker: { queues: ['chat'] } });
    const { body } = await other.admin.get('/readyz');
    expect(body.unserved_queues).toEqual(['image', 'tts', 'stt', 'webhooks']);
    const metrics = (await other.admin.get('/metrics')).body as string;
    expect(metrics).toContain('millrace_workers{queue="webhooks"} 0');
    expect(metrics).toContain('millrace_workers{queue="chat"} 1');
    expect(metrics).toContain('millrace_webhook_calls_total{meant="delivered"} 0');
    await other.account().then((account) => account.run(chat()));
    await other.stop();
  });
});
