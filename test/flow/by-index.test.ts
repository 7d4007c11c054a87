// Nothing that is done for each job, or each second, reads a whole table: it would be right today and slow in a year.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { chat } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { startPlatform, type TestPlatform } from '../support/platform.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { delivery, makeEndpoint } from '../support/webhooks.ts';

/** Those that grow with every job. Partitions count as their table. */
const GROWING =
  'jobs|attempts|ledger_transactions|ledger_lines|events|deltas|idempotency_keys|lots|artifacts|deliveries|delivery_attempts|endpoints';

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

/** How often each was read whole so far, by PostgreSQL's own count. */
async function wholeReads(): Promise<Record<string, number>> {
  const rows = await millrace.sql<{ name: string; n: string }>(
    `select relname as name, seq_scan as n from pg_stat_user_tables where relname ~ '^(${GROWING})(_[0-9]+)?$'`,
  );
  return Object.fromEntries(rows.map(({ name, n }) => [name, Number(n)]));
}

it('reads no table whole, however few rows it has', async () => {
  // What starting took is nobody's fault: the migration has just made the tables.
  await sleep(1_500);
  const before = await wholeReads();
  expect(Object.keys(before).length).toBeGreaterThan(15);
  const account = await millrace.account({ overrides: { slots: 2 } });
  const endpoint = await makeEndpoint(account, receiver.url('/'), { events: ['*'] });
  receiver.answers('/own', 500);
  const jobs = await Promise.all(
    Array.from({ length: 12 }, (_, i) =>
      account.submit(
        { ...chat(`job ${i % 10}`), webhook: receiver.url('/own') },
        { 'idempotency-key': `k${i % 10}` },
      ),
    ),
  );
  await Promise.all(jobs.map(({ id }) => account.ended(id)));
  const failing = await account.submit(chat('x', { sim: { fault: '500', times: 1 } }));
  await account.ended(failing.id);
  const image = await account.run({ model: 'sim/image', input: { prompt: 'a mill', size: '64x64' } });
  const { images } = image.output as { images: { artifact_id: string }[] };
  for (const path of [
    `/v1/artifacts/${images[0]?.artifact_id}`,
    '/v1/jobs',
    '/v1/jobs?status=running',
    '/v1/transactions',
    `/v1/jobs/${failing.id}/explain`,
    '/v1/account',
    '/v1/webhook-endpoints',
    '/v1/webhook-endpoints/for-jobs',
    `/v1/webhook-endpoints/${endpoint.id}/deliveries`,
  ])
    expect((await account.get(path)).status, path).toBe(200);
  await delivery(account, endpoint.id, ({ status }) => status === 'delivered');
  const again = { after: '2026-01-01T00:00:00Z', only_failed: false };
  expect((await account.post(`/v1/webhook-endpoints/${endpoint.id}/redeliver`, again)).status).toBe(202);
  await account.events('/v1/events?after=start', { until: ({ event }) => event === 'job.succeeded' });
  const [waiting] = await Promise.all(
    [1, 2, 3].map(() => account.submit(chat('x', { sim: { latency_ms: 3_000 } }))),
  );
  await account.post(`/v1/jobs/${waiting.id}/cancel`);
  // A few passes of the sweep, and the moment until a session's counts are written.
  await sleep(3_000);
  await eventually(async () => (await account.get('/v1/jobs?status=running')).body.data.length === 0, {
    what: 'nothing runs any more',
    withinMs: 20_000,
  });
  await sleep(1_500);
  expect(await wholeReads()).toEqual(before);
});
