// Who is let in: credits, slots, line, caps of the request's own; and that a list's items do not harm each other.
import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Answer } from '../../src/flow/admit.ts';
import { chat, type Json, openClient } from '../support/client.ts';
import { type Hands, openHands } from '../support/hands.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';

let millrace: TestPlatform;
let hands: Hands;
beforeAll(async () => {
  millrace = await startPlatform({ worker: false });
  hands = openHands(millrace);
});
afterAll(async () => {
  const { body } = await millrace.admin.get('/v1/admin/invariants');
  await millrace.stop();
  expect(body).toMatchObject({ ok: true, breaches: [] });
});

const refused = ({ status, body, headers }: Json) => ({
  status,
  code: body.code,
  details: body.details,
  headers,
});
const holdOf = async (account: TestAccount, job: unknown): Promise<number> =>
  (await account.post('/v1/jobs?dry_run=true', job)).body.hold.credits;

describe('credits', () => {
  it('carry a job whose hold they just cover, and none that costs one more', async () => {
    const hold = await holdOf(await millrace.account(), chat('x', { max_tokens: 100 }));
    const exact = await millrace.account({ credits: hold });
    const { body: job } = await exact.post('/v1/jobs', chat('x', { max_tokens: 100 }));
    expect(job.hold.credits).toBe(hold);
    const { body: me } = await exact.get('/v1/account');
    expect(me.balance).toMatchObject({ available: { credits: 0 }, held: { credits: hold } });

    const short = await millrace.account({ credits: hold - 1 });
    expect(refused(await short.post('/v1/jobs', chat('x', { max_tokens: 100 })))).toMatchObject({
      status: 403,
      code: 'out_of_credits',
      details: {
        required: hold,
        available: hold - 1,
        held: 0,
        shortfall: 1,
        bound_that_fits: { max_output_tokens: 99 },
      },
      headers: { 'x-should-retry': 'false' },
    });
    // The bound that was offered is taken, and not one token more.
    expect((await short.post('/v1/jobs', chat('x', { max_tokens: 99 }))).status).toBe(202);
  });

  it('name the number of images that fit', async () => {
    const account = await millrace.account({ credits: 1_499 });
    const images = (n: number) => ({ model: 'sim/image', input: { prompt: 'p', n } });
    const { details } = refused(await account.post('/v1/jobs', images(4)));
    expect(details).toMatchObject({ required: 2_000, bound_that_fits: { n: 2 } });
    expect((await account.post('/v1/jobs?dry_run=true', images(3))).body).toMatchObject({
      admitted: false,
      reason: 'out_of_credits',
    });
    expect((await account.post('/v1/jobs', images(2))).status).toBe(202);
  });

  it('of a lot with a tag pay for models of that tag alone', async () => {
    const account = await millrace.account({ credits: 0 });
    await millrace.admin.post(`/v1/admin/accounts/${account.id}/grants`, {
      credits: 50_000,
      reason: 'test',
      tag: 'free',
    });
    const speech = await account.post('/v1/jobs', { model: 'sim/tts', input: { input: 'Hello' } });
    expect(refused(speech)).toMatchObject({
      code: 'out_of_credits',
      details: { required: 50, available: 0 },
    });
    expect((await account.post('/v1/jobs', chat('x', { max_tokens: 10 }))).status).toBe(202);
  });

  it('of the lot that lapses first go first, and not once it has lapsed', async () => {
    const account = await millrace.account({ credits: 1_000 });
    const grant = (credits: number, inSeconds: number) =>
      millrace.admin.post(`/v1/admin/accounts/${account.id}/grants`, {
        credits,
        reason: 'test',
        expires_at: new Date(Date.now() + inSeconds * 1000).toISOString(),
      });
    const late = await grant(300, 7_200);
    const soon = await grant(400, 3_600);
    const { body: job } = await account.post('/v1/jobs', { model: 'sim/image', input: { prompt: 'p' } });
    const { body: explained } = await account.get(`/v1/jobs/${job.id}/explain`);
    expect(explained.hold.lots.map((lot: Json) => [lot.lot_id, lot.credits])).toEqual([
      [soon.body.lot_id, 400],
      [late.body.lot_id, 100],
    ]);
    try {
      // No sweep has run: the lot is still in the balance, and yet in nobody's reach.
      await millrace.sql(`update clock set shift = interval '3 hours'`);
      const { body } = await account.post('/v1/jobs', { model: 'sim/image', input: { prompt: 'p', n: 3 } });
      expect(body).toMatchObject({ code: 'out_of_credits', details: { required: 1_500, available: 1_000 } });
    } finally {
      await millrace.sql(`update clock set shift = interval '0'`);
    }
  });

  it('are never held beyond max_credits', async () => {
    const account = await millrace.account();
    const job = chat('x', { max_tokens: 100 });
    const hold = await holdOf(account, job);
    expect(refused(await account.post('/v1/jobs', { ...job, max_credits: hold - 1 }))).toMatchObject({
      status: 422,
      code: 'cost_over_max',
      details: { required: hold, max_credits: hold - 1 },
    });
    expect((await account.post('/v1/jobs', { ...job, max_credits: hold })).status).toBe(202);
    expect((await account.post('/v1/jobs?dry_run=true', { ...job, max_credits: 0 })).body).toMatchObject({
      admitted: false,
      reason: 'cost_over_max',
      hold: { credits: hold },
    });
  });
});

describe('slots and line', () => {
  it('take so many and refuse the next', async () => {
    const account = await millrace.account({ overrides: { slots: 2, line_length: 3 } });
    const jobs: Json[] = [];
    for (let i = 0; i < 5; i++) jobs.push((await account.post('/v1/jobs', chat(`${i}`))).body);
    expect(jobs.map(({ queue }) => [queue.position, queue.waiting_for])).toEqual([
      [0, 'worker'],
      [0, 'worker'],
      [0, 'slot'],
      [1, 'slot'],
      [2, 'slot'],
    ]);
    expect((await account.post('/v1/jobs?dry_run=true', chat('x'))).body).toMatchObject({
      admitted: false,
      reason: 'queue_full',
    });
    const full = await account.post('/v1/jobs', chat('x'));
    expect(refused(full)).toMatchObject({
      status: 429,
      code: 'queue_full',
      details: { waiting: 3, max: 3 },
      headers: { 'x-should-retry': 'true', 'retry-after': expect.stringMatching(/^\d+$/) },
    });
    const { body: me } = await account.get('/v1/account');
    expect(me).toMatchObject({ slots: { used: 2, total: 2 }, line: { waiting: 3, max: 3 } });
    // A refusal took nothing: not a credit, not a number.
    expect(me.balance.held.credits).toBe(jobs.reduce((sum, job) => sum + job.hold.credits, 0));

    // Out of the line, another may come in; out of a slot, the next in line has it.
    await account.post(`/v1/jobs/${jobs[3].id}/cancel`);
    expect((await account.post('/v1/jobs', chat('y'))).body.queue).toMatchObject({ position: 2 });
    await account.post(`/v1/jobs/${jobs[0].id}/cancel`);
    const slots = await millrace.sql(
      'select id, slot from jobs where account_id = $1 and slot is not null order by slot',
      [account.id],
    );
    expect(slots).toEqual([
      { id: jobs[2].id, slot: 1 },
      { id: jobs[1].id, slot: 2 },
    ]);
  });

  it('stand by a plan that was lowered: who runs runs on, and nobody comes in beside them', async () => {
    const account = await millrace.account({ overrides: { slots: 6, line_length: 10 } });
    const jobs: Json[] = [];
    for (let i = 0; i < 6; i++) jobs.push((await account.post('/v1/jobs', chat(`${i}`))).body);
    // The lowest numbers come free; with two slots left to the plan and four in use above them.
    await millrace.admin.send('PATCH', `/v1/admin/accounts/${account.id}`, {
      body: { overrides: { slots: 2, line_length: 10 }, reason: 'test' },
    });
    for (const job of jobs.slice(0, 2)) await account.post(`/v1/jobs/${job.id}/cancel`);
    expect((await account.post('/v1/jobs', chat('late'))).body.queue).toMatchObject({
      waiting_for: 'slot',
      position: 0,
    });
    const used = async () => (await account.get('/v1/account')).body.slots;
    expect(await used()).toEqual({ used: 4, total: 2 });
    for (const job of jobs.slice(2, 5)) await account.post(`/v1/jobs/${job.id}/cancel`);
    expect(await used()).toEqual({ used: 2, total: 2 });
    // And a plan that was raised lets in who waits, at once.
    await account.post('/v1/jobs', chat('later'));
    await millrace.admin.send('PATCH', `/v1/admin/accounts/${account.id}`, {
      body: { overrides: { slots: 3 }, reason: 'test' },
    });
    expect(await used()).toEqual({ used: 3, total: 3 });
  });

  it('order by priority, then by arrival', async () => {
    const account = await millrace.account({ overrides: { slots: 1, line_length: 10 } });
    const submit = async (priority: string) =>
      (await account.post('/v1/jobs', { ...chat(priority), priority })).body;
    const first = await submit('low');
    const waiting = [
      await submit('low'),
      await submit('normal'),
      await submit('high'),
      await submit('normal'),
      await submit('high'),
    ];
    const expected = ['high', 'high', 'normal', 'normal', 'low'];
    const places = await Promise.all(
      waiting.map(async ({ id }) => (await account.get(`/v1/jobs/${id}`)).body.queue.position),
    );
    const byPlace = waiting
      .map((job, i) => ({ job, place: places[i] as number }))
      .toSorted((a, b) => a.place - b.place);
    expect(byPlace.map(({ place }) => place)).toEqual([0, 1, 2, 3, 4]);
    expect(byPlace.map(({ job }) => job.priority)).toEqual(expected);
    const line = byPlace.map(({ job }) => job.id as string);
    expect(line).toEqual([waiting[2], waiting[4], waiting[1], waiting[3], waiting[0]].map(({ id }) => id));
    // They get the slot in that order.
    const seen: string[] = [];
    let at = first.id as string;
    for (;;) {
      await account.post(`/v1/jobs/${at}/cancel`);
      const [next] = await millrace.sql<{ id: string }>(
        'select id from jobs where account_id = $1 and slot = 1',
        [account.id],
      );
      if (!next) break;
      seen.push((at = next.id));
    }
    expect(seen).toEqual(line);
  });
});

describe('a list', () => {
  it('does not suffer from an item that the database refuses', async () => {
    const accounts = await Promise.all([millrace.account(), millrace.account()]);
    const requests = await Promise.all(
      Array.from({ length: 9 }, (_, i) => hands.request(accounts[i % 2]!, chat(`${i}`), `k${i}`)),
    );
    // Nothing that the API lets through could do this: the last word against what it may overlook one day.
    const poisoned = requests.map((request, i) => (i === 4 ? { ...request, endUser: 'NUL:\0' } : request));
    await turn();
    const answers = await Promise.allSettled(
      poisoned.map((request) => hands.admit({ requests: [request], atomic: false })),
    );
    expect(answers.map(({ status }) => status)).toEqual(
      requests.map((_, i) => (i === 4 ? 'rejected' : 'fulfilled')),
    );
    expect((answers[4] as PromiseRejectedResult).reason).toMatchObject({ code: '22021' });
    for (const [i, answer] of answers.entries()) {
      if (answer.status === 'rejected') continue;
      expect(answer.value[0] as Answer).toMatchObject({ job: { id: requests[i]!.jobId }, replayed: false });
    }
    const rows = await millrace.sql<{ id: string }>('select id from jobs where account_id = any($1)', [
      accounts.map(({ id }) => id),
    ]);
    expect(rows.map(({ id }) => id).toSorted()).toEqual(
      requests
        .filter((_, i) => i !== 4)
        .map(({ jobId }) => jobId)
        .toSorted(),
    );
    // The refused key is free.
    const again = await hands.admit({ requests: [requests[4]!], atomic: false });
    expect(again[0]).toMatchObject({ job: { id: requests[4]!.jobId }, replayed: false });
  });

  it('is decided in order, each against what those before it left', async () => {
    const poor = await millrace.account({ credits: 1_100 });
    const images = await Promise.all(
      [1, 2, 1, 1].map((n) => hands.request(poor, { model: 'sim/image', input: { prompt: 'p', n } })),
    );
    await turn();
    const answers = await Promise.all(
      images.map((request) => hands.admit({ requests: [request], atomic: false })),
    );
    expect(
      answers.map(([answer]) => ('job' in answer! ? 'in' : answer!.refusal.details['available'])),
    ).toEqual(['in', 600, 'in', 100]);
  });
});

describe('a test key', () => {
  it('has books of its own, and reaches nothing but the simulator', async () => {
    const account = await millrace.account({ credits: 5_000 });
    const inTest = openClient(millrace.url, account.testKey);
    await millrace.admin.send('PUT', '/v1/admin/models/vendor/chat', { body: { kind: 'chat', data: {} } });
    const priced = [
      { name: 'token', measure: 'input', credits_per_million: '1' },
      { name: 'token', measure: 'output', credits_per_million: '1' },
    ];
    await millrace.admin.post('/v1/admin/prices', { model: 'vendor/chat', lines: priced });
    const vendor = { provider: 'openai', base_url: 'http://127.0.0.1:9/v1', rank: 0 };
    await millrace.admin.post('/v1/admin/routes', { model: 'vendor/chat', ...vendor });

    const ask = { ...chat('x', { max_tokens: 1 }), model: 'vendor/chat' };
    expect(refused(await inTest.post('/v1/jobs', ask))).toMatchObject({
      status: 404,
      code: 'model_not_found',
    });
    expect((await account.post('/v1/jobs', ask)).body).toMatchObject({ status: 'queued', livemode: true });

    // Beside a route to the simulator, tried second by everybody else.
    const { body: route } = await millrace.admin.post('/v1/admin/routes', {
      model: 'vendor/chat',
      provider: 'sim',
      rank: 1,
    });
    const { body: job } = await inTest.post('/v1/jobs', ask);
    expect(job).toMatchObject({ status: 'queued', livemode: false });
    expect(await millrace.sql('select route_id from jobs where id = $1', [job.id])).toEqual([
      { route_id: route.id },
    ]);

    const books = async (client: typeof inTest) => (await client.get('/v1/account')).body;
    const [mine, theirs] = [await books(account), await books(inTest)];
    expect(mine).toMatchObject({ id: account.id, livemode: true, slots: { used: 1 } });
    expect(theirs).toMatchObject({ livemode: false, slots: { used: 1 }, balance: { held: job.hold } });
    expect(theirs.id).not.toBe(account.id);
    expect((await account.get(`/v1/jobs/${job.id}`)).status).toBe(404);
    const { body: listed } = await inTest.get('/v1/transactions');
    expect(listed.data.map(({ type }: Json) => type)).toEqual(['grant', 'hold']);
  });
});
