// A storage that is away while jobs run: what was made, and paid, waits for it; what cannot be read yet is tried again later.
import { openAnnouncer } from '../../src/flow/announce.ts';
import { openSettlement } from '../../src/flow/settle.ts';
import { openSweep } from '../../src/flow/sweep.ts';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { attemptsOf, simCalls } from '../support/look.ts';
import { noVendor } from '../support/hands.ts';
import { type Placed, startOn } from '../support/on-storage.ts';
import type { TestAccount, TestWorker } from '../support/platform.ts';
import type { S3Call } from '../support/s3-server.ts';

let millrace: Placed;
let account: TestAccount;
let worker: TestWorker;
beforeAll(async () => {
  millrace = await startOn('s3', { worker: false, env: { SWEEP_MS: '100', DRAIN_SECONDS: '1' } });
  account = await millrace.account({ plan: 'scale' });
  worker = await millrace.addWorker();
});
afterEach(() => millrace.s3!.behave());
afterAll(() => millrace.stop());

const image = { model: 'sim/image', input: { prompt: 'a mill at dawn', size: '64x64' } };
const isPut = ({ method, key }: S3Call): boolean => method === 'PUT' && key.includes('objects/');
const isGet = ({ method, key }: S3Call): boolean => method === 'GET' && key.includes('objects/');
const puts = (): number => millrace.s3!.calls.filter(isPut).length;
/** More than three attempts of a job would make, if each gave up. */
const triedOften = async (): Promise<void> => {
  const from = puts();
  await eventually(() => puts() > from + 30, { what: 'many tries to store', withinMs: 60_000 });
};

it('an output is stored when it can be, by the attempt that made it', async () => {
  millrace.s3!.misbehave({ on: isPut, how: 'error' });
  const { id } = await account.submit(image);
  await triedOften();
  expect((await account.get(`/v1/jobs/${id}`)).body.status).toBe('running');
  millrace.s3!.behave();
  expect(await account.ended(id)).toMatchObject({ status: 'succeeded', attempt: 1 });
  expect(await simCalls(id)).toHaveLength(1);
}, 90_000);

it('a worker that goes meanwhile hands the job back, and that is no failure', async () => {
  millrace.s3!.misbehave({ on: isPut, how: 'error' });
  const { id } = await account.submit(image);
  const from = puts();
  await eventually(() => puts() > from, { what: 'a try to store', withinMs: 30_000 });
  await worker.stop();
  millrace.s3!.behave();
  worker = await millrace.addWorker();
  expect(await account.ended(id)).toMatchObject({ status: 'succeeded', attempt: 2 });
  expect(await attemptsOf(millrace, id)).toMatchObject([
    { outcome: 'interrupted', error_code: null },
    { outcome: 'succeeded' },
  ]);
}, 60_000);

it('an input that cannot be read is tried again later than a vendor would be', async () => {
  const long = { model: 'sim/chat', input: { messages: [{ role: 'user', content: 'x'.repeat(100_000) }] } };
  millrace.s3!.misbehave({ on: isGet, how: 'error' });
  const { id } = await account.submit(long);
  const { body } = await eventually(
    async () => {
      const answer = await account.get(`/v1/jobs/${id}`);
      return answer.body.queue?.waiting_for === 'retry' && answer;
    },
    { what: 'a second attempt that waits', withinMs: 30_000, everyMs: 20 },
  );
  expect(body.attempt).toBe(1);
  const [row] = await millrace.sql<{ wait: number }>(
    `select extract(epoch from due_at - now())::float8 as wait from jobs where id = $1`,
    [id],
  );
  expect(row!.wait).toBeGreaterThan(1);
  millrace.s3!.behave();
  expect((await account.ended(id)).status).toBe('succeeded');
  expect((await attemptsOf(millrace, id))[0]).toMatchObject({ error_code: 'storage_unavailable' });
}, 60_000);

it('the sweep goes on while nothing that it asks of the storage is answered', async () => {
  await worker.stop();
  await millrace.sql(`delete from settings where name = 'remove_orphans_at'`);
  const { ctx } = millrace.platform;
  const announcer = openAnnouncer(ctx);
  const tools = { announcer, settle: openSettlement(ctx, announcer), provider: noVendor };
  const sweeper = openSweep(ctx, tools);
  const { id } = await account.submit({ ...image, expires_in: 60 });
  const { body: promised } = await account.post('/v1/artifacts', { content_type: 'a/b', bytes: 1 });
  await millrace.sql(`update artifacts set expires_at = millrace_now() where id = $1`, [promised.id]);
  await millrace.sql(`update clock set shift = interval '61 seconds'`);
  millrace.s3!.misbehave({ on: () => true, how: 'hang' });
  const from = millrace.s3!.calls.length;
  await eventually(() => millrace.s3!.calls.length >= from + 2 || sweeper.pass().then(() => false), {
    what: 'both who work on storage',
    withinMs: 10_000,
  });
  await sweeper.pass();
  expect((await account.get(`/v1/jobs/${id}`)).body.status).toBe('expired');
  const left = performance.now();
  await sweeper.leave();
  expect(performance.now() - left).toBeLessThan(10_000);
}, 30_000);
