// What each outcome costs, line by line of the table in the contract: success, failures, refusals, viewers. Those that
// somebody ended are in stops.test.ts.
import { request } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chat, type Json } from '../support/client.ts';
import { attemptsOf, jobUntil, ledgerOf, simCalls } from '../support/look.ts';
import { type OwnWorker, startOwnWorker } from '../support/own-worker.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { simProvider } from '../../src/providers/sim/index.ts';

let millrace: TestPlatform;
let account: TestAccount;
beforeAll(async () => {
  millrace = await startPlatform({ env: { SWEEP_MS: '100' } });
  account = await millrace.account({ plan: 'scale' });
});
afterAll(async () => {
  const { body } = await millrace.admin.get('/v1/admin/invariants');
  await millrace.stop();
  expect(body).toMatchObject({ ok: true, breaches: [] });
});

const sim = (fault: string, rest: Record<string, unknown> = {}) =>
  chat('What does the wheel say', { sim: { fault, ...rest } });
const image = (sim: Record<string, unknown> = {}, rest: Record<string, unknown> = {}) => ({
  model: 'sim/image',
  input: { prompt: 'a mill at dawn', size: '64x64', sim, ...rest },
});
/** At the price of `sim/chat`. */
const chatPrice = ([input, output]: { quantity: number }[]): number =>
  (input?.quantity ?? 0) + 4 * (output?.quantity ?? 0);

/** All that was held came back, and the ledger says no more. */
async function expectFree(job: Json): Promise<void> {
  expect(job.cost).toEqual({ credits: 0, usd: '0' });
  const held = job.hold.credits as number;
  expect(await ledgerOf(millrace, job.id)).toEqual([
    { type: 'hold', from_bucket: 'available', to_bucket: 'held', amount: held },
    { type: 'release', from_bucket: 'held', to_bucket: 'available', amount: held },
  ]);
}

async function expectCharged(job: Json, credits: number): Promise<void> {
  expect(job.cost.credits).toBe(credits);
  expect(credits).toBeLessThanOrEqual(job.hold.credits);
  const rest = job.hold.credits - credits;
  expect(await ledgerOf(millrace, job.id)).toEqual([
    { type: 'hold', from_bucket: 'available', to_bucket: 'held', amount: job.hold.credits },
    { type: 'capture', from_bucket: 'held', to_bucket: 'captured', amount: credits },
    ...(rest > 0 ? [{ type: 'release', from_bucket: 'held', to_bucket: 'available', amount: rest }] : []),
  ]);
}

describe.concurrent('succeeded', () => {
  it('costs the price of what was measured', async () => {
    const job = await account.run(chat('What does the wheel say'));
    expect(job.status).toBe('succeeded');
    await expectCharged(job, chatPrice(job.usage));
    expect(await attemptsOf(millrace, job.id)).toMatchObject([
      { outcome: 'succeeded', provider_cost: String(Math.ceil(job.cost.credits / 2)), waste: null },
    ]);
  });

  it('never costs more than the hold: what the vendor bills beyond it is the operator’s overrun', async () => {
    for (const asked of [sim('wrong-usage'), image({ fault: 'wrong-usage' })]) {
      const job = await account.run(asked);
      expect(job).toMatchObject({ status: 'succeeded', cost: job.hold });
      const price = job.kind === 'chat' ? chatPrice(job.usage) : (job.usage[0].quantity as number) * 500;
      const overrun = price - job.hold.credits;
      expect(overrun).toBeGreaterThan(0);
      expect(await ledgerOf(millrace, job.id)).toEqual([
        { type: 'hold', from_bucket: 'available', to_bucket: 'held', amount: job.hold.credits },
        { type: 'capture', from_bucket: 'held', to_bucket: 'captured', amount: job.hold.credits },
        { type: 'capture', from_bucket: 'operator', to_bucket: 'overrun', amount: overrun },
      ]);
      expect(await attemptsOf(millrace, job.id)).toMatchObject([{ overrun: String(overrun) }]);
    }
  });

  it('costs once, however many attempts it took', async () => {
    const asked = [sim('500', { times: 1 }), sim('500', { times: 2 }), sim('429', { times: 2 })];
    const jobs = await Promise.all([
      ...asked.map((job) => account.run(job)),
      account.run(sim('malformed', { times: 1 })),
      account.run(sim('cut', { times: 2, latency_ms: 50 })),
      account.run(image({ fault: '500', times: 2 })),
    ]);
    expect(jobs.map((job) => [job.status, job.attempt])).toEqual([
      ['succeeded', 2],
      ['succeeded', 3],
      ['succeeded', 3],
      ['succeeded', 2],
      ['succeeded', 3],
      ['succeeded', 3],
    ]);
    for (const job of jobs) await expectCharged(job, job.kind === 'chat' ? chatPrice(job.usage) : 500);
  });

  it('waits as long as the vendor asks', async () => {
    const job = await account.run(sim('429-retry-after', { times: 1 }));
    expect(job).toMatchObject({ status: 'succeeded', attempt: 2 });
    const [first, second] = await simCalls(job.id);
    expect(Date.parse(second!.started_at) - Date.parse(first!.ended_at!)).toBeGreaterThanOrEqual(995);
  });

  it('asks what became of a call whose answer was lost: one call, billed once, charged once', async () => {
    const jobs = await Promise.all([
      account.run(sim('billed-then-lost')),
      account.run(image({ fault: 'billed-then-lost' })),
    ]);
    for (const job of jobs) {
      expect(job).toMatchObject({ status: 'succeeded', attempt: 1 });
      await expectCharged(job, job.kind === 'chat' ? chatPrice(job.usage) : 500);
      expect(await simCalls(job.id)).toMatchObject([{ attempt: 1, billed: true }]);
    }
    expect(jobs[0]!.output.text).toContain('What does the wheel say');
  });
});

describe.concurrent('failed', () => {
  it('costs nothing once the attempts are used up, whatever the vendor’s trouble', async () => {
    const faults = {
      '500': 'provider_unavailable',
      '429': 'provider_rate_limited',
      malformed: 'provider_malformed',
    };
    await Promise.all(
      Object.entries(faults).map(async ([fault, code]) => {
        const job = await account.run(sim(fault, fault === 'malformed' ? {} : { times: 3 }));
        expect(job).toMatchObject({
          status: 'failed',
          attempt: 3,
          output: null,
          usage: null,
          error: { code, retryable: true, details: { attempts: 3 } },
        });
        await expectFree(job);
        expect(await simCalls(job.id)).toHaveLength(3);
      }),
    );
  });

  it('costs nothing for a cut stream, whatever was streamed', async () => {
    const { id } = await account.submit(sim('cut', { latency_ms: 60 }));
    const events = await account.events(`/v1/jobs/${id}/events`);
    expect(events.filter(({ event }) => event === 'job.delta').length).toBeGreaterThan(0);
    const job = await account.ended(id);
    expect(job).toMatchObject({ status: 'failed', attempt: 3, output: null });
    await expectFree(job);
  });

  it('costs nothing for an image that came broken or in part', async () => {
    const jobs = await Promise.all(['malformed', 'cut'].map((fault) => account.run(image({ fault }))));
    for (const job of jobs) {
      expect(job).toMatchObject({ status: 'failed', attempt: 3, output: null });
      await expectFree(job);
    }
  });

  it('costs nothing and is final when the vendor rejects the request', async () => {
    const job = await account.run(image({}, { size: '64x64', prompt: 'p', n: 1, quality: 'hd', seed: 3 }));
    expect(job.status).toBe('succeeded');
    // The simulator itself knows no voice format but two; the platform leaves that word to the vendor.
    const rejected = await account.run({
      model: 'sim/tts',
      input: { input: 'Hello', response_format: 'mp3' },
    });
    expect(rejected).toMatchObject({
      status: 'failed',
      attempt: 1,
      error: { code: 'provider_rejected', retryable: false },
    });
    await expectFree(rejected);
  });

  it('costs nothing when the vendor’s content policy refuses it, which is not tried again', async () => {
    const jobs = await Promise.all([account.run(sim('refusal')), account.run(image({ fault: 'refusal' }))]);
    for (const job of jobs) {
      expect(job).toMatchObject({
        status: 'failed',
        attempt: 1,
        error: { code: 'content_refused', retryable: false },
      });
      await expectFree(job);
      expect(await simCalls(job.id)).toHaveLength(1);
    }
  });
});

describe('a refusal of which the model’s data say that it is charged', () => {
  const sayOf = (id: string, charge_refused: boolean) =>
    millrace.admin.send('PUT', `/v1/admin/models/${id}`, {
      body: { kind: id.split('/').at(-1), data: { charge_refused } },
    });

  /** A model of its own at the simulator, which costs the operator half of what it is sold for. */
  async function strictModel(kind: string, lines: Record<string, string>[]): Promise<string> {
    const id = `strict/${kind}`;
    const { admin } = millrace;
    const at = (credits: string) => lines.map((line) => ({ ...line, credits_per_million: credits }));
    const answers = [
      await sayOf(id, true),
      await admin.post('/v1/admin/prices', { model: id, lines: at('2000000') }),
      await admin.post('/v1/admin/routes', {
        model: id,
        provider: 'sim',
        upstream_model: `sim-${kind}`,
        cost: at('1000000'),
        data: { unknown_fields: 'pass' },
      }),
    ];
    expect(answers.map(({ status }) => Math.floor(status / 100))).toEqual([2, 2, 2]);
    return id;
  }

  it('costs what was asked: the vendor bills it, and nothing of it is the operator’s', async () => {
    const token = (measure: string) => ({ name: 'token', measure });
    const chatModel = await strictModel('chat', [token('input'), token('output')]);
    const imageModel = await strictModel('image', [{ name: 'image', measure: 'output' }]);
    const { data } = (await account.get('/v1/models')).body;
    expect(
      data
        .filter((model: Json) => model.charge_refused)
        .map(({ id }: Json) => id)
        .toSorted(),
    ).toEqual([chatModel, imageModel]);
    const jobs = [
      await account.run({ ...sim('refusal'), model: chatModel }),
      await account.run({ ...image({ fault: 'refusal' }, { n: 3 }), model: imageModel }),
    ];
    for (const job of jobs) {
      expect(job).toMatchObject({ status: 'failed', attempt: 1, error: { code: 'content_refused' } });
      const [{ quantity }] = job.usage as [{ quantity: number }];
      expect(quantity).toBeGreaterThan(0);
      await expectCharged(job, 2 * quantity);
      expect(await attemptsOf(millrace, job.id)).toMatchObject([
        { outcome: 'failed', provider_cost: String(quantity), waste: null },
      ]);
    }
    expect(jobs[1]!.usage).toEqual([{ name: 'image', measure: 'output', quantity: 3 }]);
    // Any other failure of such a model is as free as ever.
    const failed = await account.run({ ...sim('500'), model: chatModel });
    expect(failed).toMatchObject({ status: 'failed', error: { code: 'provider_unavailable' } });
    await expectFree(failed);
  });

  it('is not asked again, and free, where what it had said cannot be read', async () => {
    const model = await strictModel('chat', [
      { name: 'token', measure: 'input' },
      { name: 'token', measure: 'output' },
    ]);
    await millrace.sql('revoke select on deltas from millrace_flow');
    try {
      const job = await account.run({ ...sim('refusal'), model });
      expect(job).toMatchObject({ status: 'failed', attempt: 1, error: { code: 'content_refused' } });
      await expectFree(job);
    } finally {
      await millrace.sql('grant select on deltas to millrace_flow');
    }
  });

  it('is charged as the data said when the job was admitted, whatever they say at its end', async () => {
    const before = await strictModel('chat', [
      { name: 'token', measure: 'input' },
      { name: 'token', measure: 'output' },
    ]);
    const client = await millrace.account({ overrides: { slots: 1 } });
    const hanging = await client.submit(sim('hang'));
    const asked = { ...sim('refusal'), model: before };
    const charged = await client.submit(asked);
    expect(charged.bounds).toMatchObject({ charge_refused: true });
    expect((await sayOf(before, false)).status).toBe(200);
    const free = await client.submit(asked);
    expect(free.bounds).not.toHaveProperty('charge_refused');
    expect((await client.get(`/v1/jobs/${charged.id}`)).body).toMatchObject({ status: 'queued' });
    await client.post(`/v1/jobs/${hanging.id}/cancel`);
    const ends = [await client.ended(charged.id), await client.ended(free.id)];
    for (const job of ends)
      expect(job).toMatchObject({ status: 'failed', error: { code: 'content_refused' } });
    expect(ends[0]!.cost.credits).toBeGreaterThan(0);
    expect(ends[1]!.cost.credits).toBe(0);
  });
});

describe.concurrent('work that goes on after its request was answered', () => {
  it('costs its price, once', async () => {
    const jobs = await Promise.all([
      account.run(sim('async', { latency_ms: 200 })),
      account.run(image({ fault: 'async' })),
    ]);
    for (const job of jobs) {
      expect(job).toMatchObject({ status: 'succeeded', attempt: 1 });
      await expectCharged(job, job.kind === 'chat' ? chatPrice(job.usage) : 500);
      expect(await simCalls(job.id)).toMatchObject([{ outcome: 'accepted', billed: true }]);
      expect((await attemptsOf(millrace, job.id))[0]?.remote_id).toMatch(/^rem_/);
    }
  });

  it('costs nothing if the vendor ends it at our word', async () => {
    const { id } = await account.submit(image({ fault: 'async', latency_ms: 60_000 }));
    while ((await attemptsOf(millrace, id))[0]?.remote_id == null) await jobUntil(account, id, () => true);
    await account.post(`/v1/jobs/${id}/cancel`);
    const job = await account.ended(id);
    expect(job).toMatchObject({ status: 'canceled', canceled_by: 'client' });
    await expectFree(job);
  });
});

describe('a viewer’s socket', () => {
  it('changes nothing when it drops: the job runs on, at its price', async () => {
    const quiet = await account.run(chat('What does the wheel say'));
    const watched = await account.submit(chat('What does the wheel say', { sim: { latency_ms: 400 } }));
    await account.events(`/v1/jobs/${watched.id}/events`, { until: ({ event }) => event === 'job.delta' });
    const abort = new AbortController();
    const waiting = request(`${millrace.url}/v1/jobs?wait=30`, {
      method: 'POST',
      headers: { authorization: `Bearer ${account.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        ...chat('What does the wheel say', { sim: { latency_ms: 400 } }),
        metadata: { drop: 'it' },
      }),
      signal: abort.signal,
    });
    const dropped = expect(waiting).rejects.toThrow();
    let id: string | undefined;
    while (id === undefined) {
      const { body } = await account.get('/v1/jobs?metadata[drop]=it');
      id = body.data[0]?.id as string | undefined;
    }
    abort.abort();
    await dropped;
    for (const job of [await account.ended(watched.id), await account.ended(id)]) {
      expect(job).toMatchObject({ status: 'succeeded', cancel_requested_at: null, cost: quiet.cost });
      await expectCharged(job, chatPrice(job.usage));
    }
  });
});

describe('the platform’s time limit for an attempt', () => {
  let strict: TestPlatform;
  let worker: OwnWorker;
  let client: TestAccount;
  beforeAll(async () => {
    strict = await startPlatform({ worker: false, env: { SWEEP_MS: '100' } });
    const limits = { chat: 1_000, image: 300, tts: 300, stt: 300 };
    worker = await startOwnWorker(
      strict.platform,
      simProvider({ url: strict.env.SIM_URL!, totalMs: limits, idleMs: 250 }),
    );
    client = await strict.account();
  });
  afterAll(async () => {
    await worker.drain(0);
    await strict.stop();
  });

  it('costs nothing: a call that hangs or drips is repeated, and fails after three', async () => {
    const [once, hanging, dripping, still] = await Promise.all([
      client.run(sim('hang', { times: 1 })),
      client.run(sim('hang')),
      client.run(sim('drip')),
      client.run(image({ fault: 'hang' })),
    ]);
    expect(once).toMatchObject({ status: 'succeeded', attempt: 2 });
    expect(once.cost.credits).toBe(chatPrice(once.usage));
    for (const job of [hanging, dripping, still])
      expect(job).toMatchObject({
        status: 'failed',
        attempt: 3,
        cost: { credits: 0 },
        error: { code: 'provider_timeout', retryable: true },
      });
    const { body } = await strict.admin.get('/v1/admin/invariants');
    expect(body).toMatchObject({ ok: true, breaches: [] });
  });
});
