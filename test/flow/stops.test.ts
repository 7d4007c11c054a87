// What a job costs that somebody ended: its client, the operator, a deadline; and what a provider's word has to do with it.
import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { simProvider } from '../../src/providers/sim/index.ts';
import { chat, type Json } from '../support/client.ts';
import { attemptsOf, jobUntil, ledgerOf, simCalls } from '../support/look.ts';
import { type OwnWorker, startOwnWorker } from '../support/own-worker.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';

/** A word every fifth of a second or so. */
const slowChat = () => chat('Please say something long', { sim: { latency_ms: 8_000 } });
const PROMPT_TOKENS = Math.ceil(
  Buffer.byteLength(JSON.stringify((slowChat()['input'] as Json).messages)) / 4,
);

/** One job of each kind that is billed whole, slow enough to be stopped. */
const slowWork = (audio: string, ms: number): Record<string, { model: string; input: object }> => ({
  image: { model: 'sim/image', input: { prompt: 'a mill', size: '64x64', sim: { latency_ms: ms } } },
  tts: { model: 'sim/tts', input: { input: 'Ten letters', sim: { latency_ms: ms } } },
  stt: { model: 'sim/stt', input: { artifact: audio, sim: { latency_ms: ms } } },
});

async function expectFree(millrace: TestPlatform, job: Json): Promise<void> {
  expect(job.cost).toEqual({ credits: 0, usd: '0' });
  expect((await ledgerOf(millrace, job.id)).map(({ type, amount }) => [type, amount])).toEqual([
    ['hold', job.hold.credits],
    ['release', job.hold.credits],
  ]);
}

/** A chat that is running and of which words were read. */
async function runningChat(account: TestAccount, rest: Record<string, unknown> = {}): Promise<string> {
  const { id } = await account.submit({ ...slowChat(), ...rest });
  let words = 0;
  await account.events(`/v1/jobs/${id}/events`, {
    until: ({ event }) => event === 'job.delta' && ++words === 3,
  });
  return id as string;
}

/** Paid for the prompt and for every word that was said, by our own count, and no more. */
async function expectPartlyPaid(millrace: TestPlatform, job: Json): Promise<void> {
  const { text, completion } = job.output;
  expect(completion).toBeNull();
  expect(text.length).toBeGreaterThan(0);
  const output = Math.ceil(Buffer.byteLength(text) / 4);
  expect(job.usage).toEqual([
    { name: 'token', measure: 'input', quantity: PROMPT_TOKENS },
    { name: 'token', measure: 'output', quantity: output },
  ]);
  expect(job.cost.credits).toBe(PROMPT_TOKENS + 4 * output);
  expect((await ledgerOf(millrace, job.id)).map(({ type, amount }) => [type, amount])).toEqual([
    ['hold', job.hold.credits],
    ['capture', job.cost.credits],
    ['release', job.hold.credits - job.cost.credits],
  ]);
}

const expectSound = async (millrace: TestPlatform): Promise<void> =>
  expect((await millrace.admin.get('/v1/admin/invariants')).body).toMatchObject({ ok: true, breaches: [] });

describe.concurrent('a job that was ended', () => {
  let millrace: TestPlatform;
  let account: TestAccount;
  let audio: string;
  beforeAll(async () => {
    millrace = await startPlatform({ env: { SWEEP_MS: '100' } });
    account = await millrace.account({ plan: 'scale' });
    const spoken = await account.run({ model: 'sim/tts', input: { input: 'Hello.' } });
    audio = spoken.output.audio.artifact_id;
  });
  afterAll(async () => {
    await expectSound(millrace);
    await millrace.stop();
  });

  const waiting = () => millrace.account({ overrides: { slots: 0, line_length: 5 } });

  it('is free if it was waiting, for the first time or between attempts', async () => {
    const idle = await waiting();
    const { id } = await idle.submit(slowChat());
    const { body: canceled } = await idle.post(`/v1/jobs/${id}/cancel`);
    expect(canceled).toMatchObject({ status: 'canceled', canceled_by: 'client', attempt: 0, output: null });
    await expectFree(millrace, canceled);

    const retried = await account.submit(chat('x', { sim: { fault: '429-retry-after' } }));
    await jobUntil(account, retried.id, (job) => job.status === 'queued' && job.attempt === 1);
    const { body: between } = await account.post(`/v1/jobs/${retried.id}/cancel`);
    expect(between).toMatchObject({ status: 'canceled', attempt: 1 });
    await expectFree(millrace, between);
  });

  it('is free if its deadline came while it waited', async () => {
    const idle = await waiting();
    const job = await idle.run({ ...slowChat(), expires_in: 1 });
    expect(job).toMatchObject({ status: 'expired', attempt: 0, error: { code: 'deadline_exceeded' } });
    await expectFree(millrace, job);
    expect((await idle.get('/v1/account')).body.line.waiting).toBe(0);
  });

  it('costs what a chat had used, if its client canceled it', async () => {
    const id = await runningChat(account);
    const { body: asked } = await account.post(`/v1/jobs/${id}/cancel`);
    expect(asked.cancel_requested_at).not.toBeNull();
    const job = await account.ended(id);
    expect(job).toMatchObject({ status: 'canceled', canceled_by: 'client', error: null });
    await expectPartlyPaid(millrace, job);
    const [attempt] = await attemptsOf(millrace, id);
    expect(attempt).toMatchObject({ outcome: 'stopped', waste: null });
    expect(Number(attempt?.provider_cost)).toBeGreaterThan(0);
    // The call itself was ended, not just forgotten.
    expect(await simCalls(id)).toMatchObject([{ outcome: 'gone' }]);
    expect((await account.post(`/v1/jobs/${id}/cancel`)).body).toMatchObject({
      code: 'job_ended',
      details: { status: 'canceled' },
    });
  });

  it('costs what a chat had used, if its client’s own deadline ended it', async () => {
    const { id } = await account.submit({ ...slowChat(), expires_in: 2 });
    const job = await account.ended(id);
    expect(job).toMatchObject({ status: 'expired', canceled_by: null, error: { code: 'deadline_exceeded' } });
    await expectPartlyPaid(millrace, job);
  });

  it('is free if the platform’s default deadline ended it, though what was said is kept', async () => {
    const hasty = await millrace.account({ overrides: { max_deadline_s: 2 } });
    const job = await hasty.run(slowChat());
    expect(job).toMatchObject({ status: 'expired', error: { code: 'deadline_exceeded' }, usage: null });
    expect(job.output.text.length).toBeGreaterThan(0);
    await expectFree(millrace, job);
    expect(Number((await attemptsOf(millrace, job.id))[0]?.waste)).toBeGreaterThan(0);
  });

  it('is free if the operator canceled it; the first who asked counts', async () => {
    const cancel = (id: string) => millrace.admin.post(`/v1/admin/accounts/${account.id}/jobs/${id}/cancel`);
    const [first, second] = await Promise.all([runningChat(account), runningChat(account)]);
    expect((await cancel(first)).status).toBe(202);
    await account.post(`/v1/jobs/${second}/cancel`);
    await cancel(second);
    const job = await account.ended(first);
    expect(job).toMatchObject({ status: 'canceled', canceled_by: 'operator', usage: null });
    await expectFree(millrace, job);
    expect(Number((await attemptsOf(millrace, first))[0]?.waste)).toBeGreaterThan(0);
    await expectPartlyPaid(millrace, await account.ended(second));

    const image = await account.submit(slowWork(audio, 60_000)['image']!);
    await jobUntil(account, image.id, ({ status }) => status === 'running');
    await cancel(image.id);
    const ended = await account.ended(image.id);
    expect(ended).toMatchObject({ status: 'canceled', canceled_by: 'operator' });
    await expectFree(millrace, ended);
  });

  it.each(['image', 'tts', 'stt'])(
    'is free if it was %s and the provider confirms the stop',
    async (kind) => {
      const work = slowWork(audio, 60_000)[kind]!;
      const [canceled, late] = await Promise.all([
        account.submit(work),
        account.submit({ ...work, expires_in: 2 }),
      ]);
      await jobUntil(account, canceled.id, ({ status }) => status === 'running');
      await account.post(`/v1/jobs/${canceled.id}/cancel`);
      const job = await account.ended(canceled.id);
      expect(job).toMatchObject({ status: 'canceled', canceled_by: 'client', output: null, error: null });
      await expectFree(millrace, job);
      expect(await simCalls(job.id)).toMatchObject([{ outcome: 'stopped', billed: false }]);
      const expired = await account.ended(late.id);
      expect(expired).toMatchObject({ status: 'expired', error: { code: 'deadline_exceeded' } });
      await expectFree(millrace, expired);
      expect(await simCalls(expired.id)).toMatchObject([{ outcome: 'stopped', billed: false }]);
    },
  );
});

describe('a provider that confirms no stop', () => {
  let millrace: TestPlatform;
  let worker: OwnWorker;
  let account: TestAccount;
  let audio: string;
  const unstoppable = () => {
    const { stop: _, ...rest } = simProvider({ url: millrace.env['SIM_URL']! });
    return rest;
  };
  beforeAll(async () => {
    millrace = await startPlatform({ worker: false, env: { SWEEP_MS: '100' } });
    worker = await startOwnWorker(millrace.platform, unstoppable());
    account = await millrace.account();
    const spoken = await account.run({ model: 'sim/tts', input: { input: 'Hello.' } });
    audio = spoken.output.audio.artifact_id;
  });
  afterAll(async () => {
    await worker.drain(0);
    await expectSound(millrace);
    await millrace.stop();
  });

  it.concurrent.each(['image', 'tts', 'stt'])(
    'is paid for %s in full, since the work was done',
    async (kind) => {
      const work = slowWork(audio, 1_500)[kind]!;
      const [canceled, late] = await Promise.all([
        account.submit(work),
        account.submit({ ...work, expires_in: 1 }),
      ]);
      await jobUntil(account, canceled.id, ({ status }) => status === 'running');
      const { body: asked } = await account.post(`/v1/jobs/${canceled.id}/cancel`);
      expect(asked).toMatchObject({ status: 'running' });
      for (const job of [await account.ended(canceled.id), await account.ended(late.id)]) {
        expect(job).toMatchObject({ status: 'succeeded', canceled_by: null, error: null });
        expect(job.output).not.toBeNull();
        // What these kinds use is known beforehand: the whole price is the hold.
        expect(job.cost).toEqual(job.hold);
        expect(await simCalls(job.id)).toMatchObject([{ outcome: 'ok', billed: true }]);
      }
      const { deadline, ended_at } = await account.ended(late.id);
      expect(Date.parse(ended_at)).toBeGreaterThan(Date.parse(deadline));
    },
  );

  it('in time may still confirm it: its word may come after the call’s own end', async () => {
    await worker.drain(0);
    // Nor can it be asked what became of the call.
    const { lookup: _, ...sim } = simProvider({ url: millrace.env['SIM_URL']! });
    const over = Promise.withResolvers<void>();
    worker = await startOwnWorker(millrace.platform, {
      ...sim,
      call: (route, call) => sim.call(route, call).finally(over.resolve),
      async stop(route, key) {
        const confirmed = await sim.stop!(route, key);
        // A turn later still, when the worker has long seen how the call ended.
        if (confirmed) await over.promise.then(() => turn());
        return confirmed;
      },
    });
    const job = await account.run({ ...slowWork(audio, 60_000)['image']!, expires_in: 1 });
    expect(job).toMatchObject({ status: 'expired', attempt: 1, error: { code: 'deadline_exceeded' } });
    await expectFree(millrace, job);
    await worker.drain(0);
    worker = await startOwnWorker(millrace.platform, unstoppable());
  });

  it('does not keep a worker that goes: the call ends, and so does the job whose stop was asked', async () => {
    const { id } = await account.submit(slowWork(audio, 60_000)['image']!);
    const untouched = await account.submit(slowWork(audio, 3_000)['image']!);
    for (const job of [id, untouched.id]) await jobUntil(account, job, ({ status }) => status === 'running');
    await account.post(`/v1/jobs/${id}/cancel`);
    await worker.drain(0);
    const job = await account.ended(id);
    expect(job).toMatchObject({ status: 'canceled', canceled_by: 'client', attempt: 1 });
    await expectFree(millrace, job);
    expect(await simCalls(id)).toMatchObject([{ outcome: 'gone', billed: false }]);
    worker = await startOwnWorker(millrace.platform, unstoppable());
    expect(await account.ended(untouched.id)).toMatchObject({
      status: 'succeeded',
      attempt: 2,
      cost: { credits: 500 },
    });
  });

  it('does not make a chat free whose worker goes before it hears of the cancel', async () => {
    const id = await runningChat(account);
    // As if the wake-up were lost: the stop is asked, and its worker leaves for another reason.
    await millrace.sql(
      `update jobs set cancel_requested_at = millrace_now(), canceled_by = 'client' where id = $1`,
      [id],
    );
    await worker.drain(0);
    const job = await account.ended(id);
    worker = await startOwnWorker(millrace.platform, unstoppable());
    expect(job).toMatchObject({ status: 'canceled', canceled_by: 'client', attempt: 1 });
    await expectPartlyPaid(millrace, job);
  });
});
