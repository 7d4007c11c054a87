// What a vendor's call is good for: it ends a pause between two polls, and nothing more. The pauses here last for an hour, so
// that what ends soon was woken.
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { newId } from '../../src/domain/ids.ts';
import { type KeyRing, readKeyRing } from '../../src/domain/key-ring.ts';
import { callbackToken, readCallbackToken } from '../../src/flow/callback.ts';
import { openPlatform, type Platform } from '../../src/platform.ts';
import { replicateProvider } from '../../src/providers/replicate/index.ts';
import { eventually } from '../support/eventually.ts';
import { attemptsOf } from '../support/look.ts';
import { type OwnWorker, startOwnWorker } from '../support/own-worker.ts';
import { BACKENDS, startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { sellReplicate } from '../support/remote-model.ts';
import { type FakeReplicate, type Plan, startReplicate, type Work } from '../support/replicate.ts';

const HOUR = 3_600_000;
const IMAGE = { model: 'mill/image', input: { prompt: 'a mill', size: '64x64' } };

describe.each(BACKENDS)('a vendor that calls back, on %s', (backend) => {
  let millrace: TestPlatform;
  let platform: Platform;
  let account: TestAccount;
  let vendor: FakeReplicate;
  let worker: OwnWorker;
  beforeAll(async () => {
    vendor = await startReplicate();
    millrace = await startPlatform({ backend, worker: false });
    account = await millrace.account({ plan: 'scale' });
    await sellReplicate(millrace.admin, vendor, { model: 'mill/image', kind: 'image' });
    const config = readConfig({ ...millrace.env, CALLBACK_URL: millrace.url });
    platform = await openPlatform({ config, quiet: true });
    const pace = { firstMs: HOUR, mostMs: HOUR };
    worker = await startOwnWorker(platform, replicateProvider({ pace, againMs: [50, 50] }));
  });
  afterAll(async () => {
    await worker.drain(0);
    const { body } = await millrace.admin.get('/v1/admin/invariants');
    expect(body).toMatchObject({ ok: true, breaches: [] });
    await platform.ctx.close();
    await platform.leave();
    await millrace.stop();
    await vendor.close();
  });

  /** A job whose work was polled for once, and is not asked for again for an hour. */
  async function waiting(plan: Plan): Promise<{ id: string; work: Work }> {
    vendor.plan(plan);
    const known = new Set(vendor.works.keys());
    const { id } = await account.submit(IMAGE);
    const work = await eventually(
      () => [...vendor.works.values()].find((one) => !known.has(one.id) && one.polls > 0) ?? null,
      { what: 'the work is polled for', withinMs: 20_000 },
    );
    return { id: id as string, work };
  }

  const polledMore = (work: Work, than: number) =>
    eventually(() => work.polls > than, { what: 'it is polled for', withinMs: 10_000 });

  it('is heard within a moment', async () => {
    const { id, work } = await waiting({ workMs: 2_000, callback: 'done' });
    const job = await account.ended(id);
    expect(job).toMatchObject({ status: 'succeeded', cost: { credits: 500 } });
    expect(work.polls).toBeLessThanOrEqual(2);
    expect(vendor.callbacks.at(-1)).toMatchObject({ status: 204 });
    expect(vendor.callbacks.at(-1)?.url).toContain(`${millrace.url}/v1/callbacks/${id}-1.`);
    const took = Date.parse(job.ended_at) - Date.parse(job.created_at);
    expect(took).toBeLessThan(10_000);
  });

  it('before its submit was answered ends the first pause', async () => {
    vendor.plan({ workMs: 0, statuses: ['starting'], callback: 'both' });
    expect(await account.run(IMAGE)).toMatchObject({ status: 'succeeded', attempt: 1 });
  });

  it('too early, too often or with a lie is only a reason to look', async () => {
    const { id, work } = await waiting({ workMs: HOUR });
    const url = work.submit.body.webhook!;
    const lie = JSON.stringify({ id: work.id, status: 'succeeded', output: 'https://evil.example/x.png' });
    const call = async (body: string | Buffer, headers: Record<string, string> = {}) =>
      (await fetch(url, { method: 'POST', body, headers })).status;
    expect(await call(lie, { 'content-type': 'application/json' })).toBe(204);
    await polledMore(work, 1);
    expect((await account.get(`/v1/jobs/${id}`)).body).toMatchObject({ status: 'running' });
    // Whatever it is called, and whatever it is.
    expect(await call('{"broken', { 'content-type': 'application/json' })).toBe(204);
    expect(await call(randomBytes(100_000), { 'content-encoding': 'gzip' })).toBe(204);
    expect(await call('', { 'content-type': 'nonsense' })).toBe(204);
    const [before, at] = [work.polls, performance.now()];
    const answers = await Promise.all(Array.from({ length: 200 }, () => call(lie)));
    expect(new Set(answers)).toEqual(new Set([204]));
    await polledMore(work, before);
    expect(work.polls - before).toBeLessThanOrEqual(3 + (performance.now() - at) / 250);
    await account.post(`/v1/jobs/${id}/cancel`);
    expect(await account.ended(id)).toMatchObject({ status: 'canceled', cost: { credits: 0 } });
  });

  it('does nothing if it is forged', async () => {
    const { id, work } = await waiting({ workMs: HOUR });
    const { keys } = millrace.platform.ctx.secrets;
    const good = callbackToken(keys, { jobId: id, attempt: 1 });
    const forged = [
      good.slice(0, -1) + (good.endsWith('A') ? 'B' : 'A'),
      good.replace('-1.', '-2.'),
      good.replace(id, newId('job')),
      callbackToken(someKeys(), { jobId: id, attempt: 1 }),
      `${id}-1`,
      `${id}-1.`,
      `${good}%00`,
      'x',
    ];
    for (const token of forged) {
      const { status, body } = await account.post(`/v1/callbacks/${token}`, { status: 'succeeded' });
      expect([token, status]).toEqual([token, token.endsWith('%00') ? 400 : 404]);
      expect(body.code).toBe(token.endsWith('%00') ? 'invalid_request' : 'not_found');
    }
    // Wakes keep their order: had one of those been believed, there would be a poll more by now.
    expect(await vendor.callBack(work.id)).toBe(204);
    await polledMore(work, 1);
    expect(work.polls).toBe(2);
    await account.post(`/v1/jobs/${id}/cancel`);
    await account.ended(id);
  });

  it('and says more than anybody reads is cut off', async () => {
    const token = callbackToken(millrace.platform.ctx.secrets.keys, { jobId: newId('job'), attempt: 1 });
    const { hostname, port } = new URL(millrace.url);
    const socket = connect(Number(port), hostname);
    socket.on('error', () => {});
    const closed = new Promise((resolve) => socket.on('close', resolve));
    socket.write(`POST /v1/callbacks/${token} HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n`);
    const chunk = Buffer.alloc(1 << 20);
    const pour = (): void => {
      while (!socket.destroyed && socket.write(chunk));
    };
    socket.on('drain', pour);
    pour();
    await closed;
    expect(socket.bytesWritten).toBeLessThan(50 << 20);
    expect((await account.get('/v1/account')).status).toBe(200);
  });

  it('is how work is found whose submit was never answered: submitted once, charged once', async () => {
    const before = vendor.submits.length;
    vendor.plan({ submit: 'lost', workMs: 0 });
    const job = await account.run(IMAGE);
    expect(job).toMatchObject({ status: 'succeeded', attempt: 1, cost: { credits: 500 } });
    expect(vendor.submits).toHaveLength(before + 1);
    const [attempt] = await attemptsOf(millrace, job.id);
    // 1.25 s at a credit a second, rounded up.
    expect(attempt).toMatchObject({
      outcome: 'succeeded',
      remote_id: vendor.submits.at(-1)?.id,
      provider_cost: '2',
    });
  });

  it('or else is submitted once more, at the operator’s cost', async () => {
    const before = vendor.submits.length;
    vendor.plan({ submit: 'lost', unlisted: true }, { workMs: 0 });
    const job = await account.run(IMAGE);
    expect(job).toMatchObject({ status: 'succeeded', attempt: 2, cost: { credits: 500 } });
    expect(vendor.submits).toHaveLength(before + 2);
    expect((await attemptsOf(millrace, job.id)).map(({ outcome }) => outcome)).toEqual([
      'ambiguous',
      'succeeded',
    ]);
  });
});

describe('the address of a callback', () => {
  it('is that of CALLBACK_URL, else of PUBLIC_URL if that is https, else there is none', () => {
    const of = (env: Record<string, string>) => readConfig(env).callbackUrl;
    expect(of({})).toBeNull();
    expect(of({ PUBLIC_URL: 'http://mill.example' })).toBeNull();
    expect(of({ PUBLIC_URL: 'https://mill.example/' })).toBe('https://mill.example');
    expect(of({ PUBLIC_URL: 'https://mill.example', CALLBACK_URL: 'http://10.0.0.1:80' })).toBe(
      'http://10.0.0.1:80',
    );
  });

  it('names its job and attempt to who has the key', () => {
    const [keys, other] = [someKeys(), someKeys()];
    const named = { jobId: newId('job'), attempt: 12 };
    const token = callbackToken(keys, named);
    expect(readCallbackToken(keys, token)).toEqual(named);
    expect(readCallbackToken([...other, ...keys], token)).toEqual(named);
    expect(callbackToken(keys, named)).toBe(token);
    expect(readCallbackToken(other, token)).toBeNull();
  });
});

const someKeys = (): KeyRing => readKeyRing(randomBytes(32).toString('base64')) as KeyRing;
