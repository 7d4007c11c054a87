// Work that goes on at a vendor while ours come and go: workers are processes of their own, killed and drained at the worst
// moments, and the vendor counts what it was asked to do. Each time the books are audited.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Json } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { attemptsOf, ledgerOf } from '../support/look.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { sellReplicate } from '../support/remote-model.ts';
import { type FakeReplicate, startReplicate, type Work } from '../support/replicate.ts';
import { type Role, spawnWorker } from '../support/spawn.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const ENV = { LEASE_MS: '1500', SWEEP_MS: '250' };
const IMAGE = { model: 'mill/image', input: { prompt: 'a mill', size: '64x64' } };
const CHAT = { model: 'mill/chat', input: { messages: [{ role: 'user', content: 'Flour?' }] } };

let millrace: TestPlatform;
let account: TestAccount;
let vendor: FakeReplicate;
let workers: Role[] = [];
beforeAll(async () => {
  vendor = await startReplicate();
  millrace = await startPlatform({ worker: false, env: ENV });
  account = await millrace.account({ plan: 'scale' });
  await sellReplicate(millrace.admin, vendor, { model: 'mill/image', kind: 'image' });
  await sellReplicate(millrace.admin, vendor, { model: 'mill/chat', kind: 'chat' });
});
afterAll(async () => {
  await millrace.stop();
  await vendor.close();
});
beforeEach(() => {
  vendor.submits.length = 0;
  vendor.cancels.length = 0;
  vendor.works.clear();
});
afterEach(async () => {
  await Promise.all(workers.map((worker) => worker.kill()));
  workers = [];
  const { body } = await millrace.admin.get('/v1/admin/invariants');
  expect(body).toMatchObject({ ok: true, breaches: [] });
});

/** With an address for callbacks, unless it is told otherwise. */
async function worker(env: Record<string, string> = {}): Promise<Role> {
  const spawned = await spawnWorker(millrace, { env: { ...ENV, CALLBACK_URL: millrace.url, ...env } });
  workers.push(spawned);
  return spawned;
}

/** Work that goes on until the test ends it: nobody waits for a clock. */
const NEVER_MS = 600_000;

/** Ends the work, and says so, once somebody that polls for it has come since. */
async function endOncePolled(work: Work, since = work.polls): Promise<void> {
  await eventually(() => work.polls > since, { what: 'it is polled for anew', withinMs: 20_000 });
  work.status = 'succeeded';
  if (work.submit.body.webhook !== undefined) await vendor.callBack(work.id);
}

const begun = (): Work => [...vendor.works.values()][0]!;

const NO_CALLBACKS = { CALLBACK_URL: '' };

/** A job whose only worker died at that point. */
async function orphaned(point: string, { env = {}, plan = {} } = {}): Promise<string> {
  vendor.plan({ workMs: NEVER_MS, ...plan });
  const dying = await worker({ ...env, CRASH_AT: `${point}:1` });
  const { id } = await account.submit(IMAGE);
  expect(await dying.ended).toBe('SIGKILL');
  return id as string;
}

/** A job that runs, and whose work was polled for. */
async function polled(job: object, plan: object): Promise<{ id: string; work: Work }> {
  vendor.plan(plan);
  const { id } = await account.submit(job as Record<string, unknown>);
  const work = await eventually(() => [...vendor.works.values()].find(({ polls }) => polls > 0) ?? null, {
    what: 'the work is polled for',
    withinMs: 20_000,
  });
  return { id: id as string, work };
}

async function expectCharged(job: Json, attempts: string[]): Promise<void> {
  expect(job).toMatchObject({ status: 'succeeded', cost: { credits: 500 } });
  const lines = await ledgerOf(millrace, job.id as string);
  expect(lines.map(({ type, amount }) => [type, amount])).toEqual([
    ['hold', 500],
    ['capture', 500],
  ]);
  expect((await attemptsOf(millrace, job.id as string)).map(({ outcome }) => outcome)).toEqual(attempts);
}

async function expectFree(job: Json): Promise<void> {
  expect(job).toMatchObject({ status: 'canceled', cost: { credits: 0 }, output: null });
  const lines = await ledgerOf(millrace, job.id as string);
  expect(lines.map(({ type, amount }) => [type, amount])).toEqual([
    ['hold', job.hold.credits],
    ['release', job.hold.credits],
  ]);
}

describe('a worker that is killed', () => {
  it('once the name of the work is kept: it is polled for, and never submitted again', async () => {
    const id = await orphaned('remote-stored');
    const [attempt] = await attemptsOf(millrace, id);
    expect(attempt).toMatchObject({ outcome: null, remote_id: vendor.submits[0]?.id });
    expect(begun().polls).toBe(0);
    await worker();
    await endOncePolled(begun());
    await expectCharged(await account.ended(id), ['interrupted', 'succeeded']);
    expect(vendor.submits).toHaveLength(1);
  });

  it('before its name was kept: it is found by the address that it calls back', async () => {
    const id = await orphaned('remote-known');
    expect(await attemptsOf(millrace, id)).toMatchObject([{ remote_id: null }]);
    await worker();
    await endOncePolled(begun());
    await expectCharged(await account.ended(id), ['interrupted', 'succeeded']);
    expect(vendor.submits).toHaveLength(1);
  });

  it('before its name was kept, with no address to find it by: one is wasted, and no more', async () => {
    const id = await orphaned('remote-known', { env: NO_CALLBACKS });
    await worker(NO_CALLBACKS);
    await expectCharged(await account.ended(id), ['interrupted', 'succeeded']);
    expect(vendor.submits).toHaveLength(2);
    expect(vendor.submits.every(({ body }) => body.webhook === undefined)).toBe(true);
  });

  it('as the submit was sent: it is found, too', async () => {
    const id = await orphaned('provider-sent');
    await worker();
    await endOncePolled(begun());
    await expectCharged(await account.ended(id), ['interrupted', 'succeeded']);
    expect(vendor.submits).toHaveLength(1);
  });

  it('while it polls, and the next one, too: whoever comes then polls on', async () => {
    const first = await worker();
    const { id, work } = await polled(IMAGE, { workMs: NEVER_MS });
    await first.kill();
    const second = await worker();
    const before = work.polls;
    await eventually(() => work.polls > before, { what: 'the second polls', withinMs: 20_000 });
    await second.kill();
    await worker();
    await endOncePolled(work);
    await expectCharged(await account.ended(id), ['interrupted', 'interrupted', 'succeeded']);
    expect(vendor.submits).toHaveLength(1);
  });
});

it('a worker that drains hands the work back, and the next one resumes', async () => {
  const first = await worker({ DRAIN_SECONDS: '0' });
  const { id, work } = await polled(IMAGE, { workMs: NEVER_MS });
  expect(await first.drain()).toBe(0);
  expect(await attemptsOf(millrace, id)).toMatchObject([{ outcome: 'interrupted' }]);
  await worker();
  await endOncePolled(work);
  await expectCharged(await account.ended(id), ['interrupted', 'succeeded']);
  expect(vendor.submits).toHaveLength(1);
  expect(vendor.cancels).toEqual([]);
});

describe('a cancel', () => {
  it('while it is polled for reaches the vendor, and is free', async () => {
    await worker();
    const { id, work } = await polled(IMAGE, { workMs: 60_000 });
    await account.post(`/v1/jobs/${id}/cancel`);
    await expectFree(await account.ended(id));
    expect(work.status).toBe('canceled');
  });

  it('of a chat ends what goes on behind it', async () => {
    await worker();
    const { id, work } = await polled(CHAT, { workMs: 60_000 });
    await account.post(`/v1/jobs/${id}/cancel`);
    expect(await account.ended(id)).toMatchObject({ status: 'canceled' });
    await eventually(() => work.status === 'canceled', { what: 'the vendor was told', withinMs: 20_000 });
  });

  it('of work that another attempt began stops that', async () => {
    const first = await worker();
    const { id, work } = await polled(IMAGE, { workMs: 60_000 });
    await first.kill();
    await worker();
    const before = work.polls;
    await eventually(() => work.polls > before, { what: 'the second polls', withinMs: 20_000 });
    await account.post(`/v1/jobs/${id}/cancel`);
    await expectFree(await account.ended(id));
    expect(work.status).toBe('canceled');
    expect(vendor.submits).toHaveLength(1);
  });

  it.each(['remote-stored', 'polling'])(
    'that no worker lived to hear (%s) reaches the vendor all the same, and is free',
    async (when) => {
      let id: string;
      if (when === 'polling') {
        const dying = await worker();
        ({ id } = await polled(IMAGE, { workMs: 60_000 }));
        await dying.kill();
      } else id = await orphaned(when, { plan: { workMs: 60_000 } });
      await account.post(`/v1/jobs/${id}/cancel`);
      await worker();
      const job = await account.ended(id);
      await expectFree(job);
      expect([...vendor.works.values()].map(({ status }) => status)).toEqual(['canceled']);
      expect(job.attempt).toBe(1);
    },
  );

  it('that came too late is paid, since the work was done, also where no worker lived to hear it', async () => {
    const id = await orphaned('remote-stored', { plan: { cancel: 'deaf' } });
    await account.post(`/v1/jobs/${id}/cancel`);
    await worker();
    await eventually(() => vendor.cancels.length > 0, { what: 'the cancel is sent', withinMs: 20_000 });
    await endOncePolled(begun(), 0);
    await expectCharged(await account.ended(id), ['succeeded']);
    expect(vendor.cancels.length).toBeGreaterThan(0);
    expect(vendor.submits).toHaveLength(1);
  });

  it('of a worker that drains meanwhile is carried out by the next one', async () => {
    const first = await worker({ DRAIN_SECONDS: '0' });
    const { id, work } = await polled(IMAGE, { workMs: NEVER_MS, cancel: 'deaf' });
    await account.post(`/v1/jobs/${id}/cancel`);
    await eventually(() => vendor.cancels.length > 0, { what: 'the cancel is sent', withinMs: 20_000 });
    expect(await first.drain()).toBe(0);
    expect(await attemptsOf(millrace, id)).toMatchObject([{ outcome: null, remote_id: work.id }]);
    await worker();
    await endOncePolled(work);
    await expectCharged(await account.ended(id), ['succeeded']);
    expect(vendor.submits).toHaveLength(1);
  });
});
