// Settlement: once, by whoever still owns the job, and whatever else is in the list.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { openBrake } from '../../src/flow/brake.ts';
import { Pauses } from '../../src/flow/pauses.ts';
import { run } from '../../src/flow/run.ts';
import { openPlatform } from '../../src/platform.ts';
import type { CallResult } from '../../src/providers/provider.ts';
import { simProvider } from '../../src/providers/sim/index.ts';
import { appendDeltas } from '../../src/store/deltas.ts';
import type { Claimed } from '../../src/store/claims.ts';
import { chat, type Json } from '../support/client.ts';
import { answered, type Hands, openHands } from '../support/hands.ts';
import { attemptsOf, ledgerOf, simCalls } from '../support/look.ts';
import { startOwnWorker } from '../support/own-worker.ts';
import { type PgProxy, startPgProxy } from '../support/pg-proxy.ts';
import {
  type Installation,
  install,
  startPlatform,
  type TestAccount,
  type TestPlatform,
} from '../support/platform.ts';

let millrace: TestPlatform;
let hands: Hands;
let worker: { id: string; die(): Promise<void> };
beforeAll(async () => {
  millrace = await startPlatform({ worker: false });
  hands = openHands(millrace);
  worker = await hands.worker();
});
afterAll(async () => {
  const { body } = await millrace.admin.get('/v1/admin/invariants');
  await millrace.stop();
  expect(body).toMatchObject({ ok: true, breaches: [] });
});

/** So many chats of a new account, all claimed. */
async function claimed(count: number): Promise<{ account: TestAccount; jobs: Claimed[] }> {
  const account = await millrace.account();
  for (let i = 0; i < count; i++) await account.submit(chat(`${i}`));
  return { account, jobs: await hands.claim(account, worker.id) };
}
const statuses = async (account: TestAccount, jobs: readonly { jobId: string }[]): Promise<string[]> =>
  Promise.all(jobs.map(async ({ jobId }) => (await account.get(`/v1/jobs/${jobId}`)).body.status));

describe('a settlement', () => {
  it('is made once, by the attempt that the job is at', async () => {
    const { account, jobs } = await claimed(1);
    const settlement = answered(jobs[0]!);
    expect(await hands.settle({ ...settlement, epoch: 2 })).toBe(false);
    expect(await hands.settle({ ...settlement, epoch: 0 })).toBe(false);
    // Three of one job in one list, and again later: the first that is its attempt's counts.
    const list = [{ ...settlement, epoch: 0 }, settlement, answered(jobs[0]!, 'other')];
    expect(await Promise.all(list.map(hands.settle))).toEqual([false, true, false]);
    expect(await hands.settle(settlement)).toBe(false);
    const { body: job } = await account.get(`/v1/jobs/${jobs[0]!.jobId}`);
    expect(job).toMatchObject({
      status: 'succeeded',
      version: 3,
      cost: { credits: 13 },
      output: { text: 'flour' },
    });
    expect((await ledgerOf(millrace, job.id)).map(({ type, amount }) => [type, amount])).toEqual([
      ['hold', job.hold.credits],
      ['capture', 13],
      ['release', job.hold.credits - 13],
    ]);
  });

  it('does not suffer from another of its list that the database refuses', async () => {
    const { account, jobs } = await claimed(7);
    const list = jobs.map((job, i) => (i === 3 ? poisoned(job) : answered(job)));
    const settled = await Promise.allSettled(list.map(hands.settle));
    expect(settled.map(({ status }) => status)).toEqual(
      jobs.map((_, i) => (i === 3 ? 'rejected' : 'fulfilled')),
    );
    expect((settled[3] as PromiseRejectedResult).reason).toMatchObject({ code: '22021' });
    expect(await statuses(account, jobs)).toEqual(jobs.map((_, i) => (i === 3 ? 'running' : 'succeeded')));
    // Its slot and its hold stand, and it can still be settled.
    const { body: me } = await account.get('/v1/account');
    expect(me.slots.used).toBe(1);
    expect(me.balance.held.credits).toBeGreaterThan(0);
    expect(await hands.settle(answered(jobs[3]!))).toBe(true);
  });

  it('is made once though the answer of its COMMIT was lost, and made at last though the COMMIT was', async () => {
    const installation: Installation = await install('postgres');
    const proxy: PgProxy = await startPgProxy(installation.env['DATABASE_URL']!);
    const apart = await startPlatform({ worker: false, env: { DATABASE_URL: proxy.url } });
    try {
      const own = openHands({ ...apart, sql: installation.sql });
      const client = await apart.account();
      for (const what of ['answer', 'request'] as const) {
        const { id } = await client.submit(chat(what));
        const [job] = await own.claim(client, (await own.worker()).id);
        const lost = proxy.loseCommit(what, 'end-jobs');
        const settled = own.settle(answered(job!));
        await lost;
        // After a lost answer nothing is left to settle; the job says who did.
        expect(await settled).toBe(what === 'request');
        const { body } = await client.get(`/v1/jobs/${id}`);
        expect(body).toMatchObject({ status: 'succeeded', cost: { credits: 13 } });
      }
      const { body: me } = await client.get('/v1/account');
      expect(me.balance).toMatchObject({ available: { credits: 200_000_000 - 26 }, held: { credits: 0 } });
      const { body: audit } = await apart.admin.get('/v1/admin/invariants');
      expect(audit).toMatchObject({ ok: true, breaches: [] });
    } finally {
      await apart.stop();
      await proxy.close();
      await installation.remove();
    }
  });

  it('knows prices and routes that its process had not heard of', async () => {
    const { ctx } = millrace.platform;
    const elsewhere = await openPlatform({ config: readConfig(millrace.env), quiet: true });
    const own = await startOwnWorker(elsewhere, simProvider({ url: millrace.env['SIM_URL']! }));
    try {
      const account = await millrace.account();
      const image = { model: 'sim/image', input: { prompt: 'p', size: '64x64' } };
      // Past the admin routes, which would tell everybody.
      await millrace.sql(
        `insert into prices (id, model_id, lines, effective_from) select 'prv_new', model_id, lines, millrace_now() from prices where id = 'prv_sim_image'`,
      );
      await ctx.refreshCatalogue();
      expect(elsewhere.ctx.catalogue().prices.has('prv_new')).toBe(false);
      const dear = await account.run(image);
      expect(dear).toMatchObject({
        status: 'succeeded',
        attempt: 1,
        price_version: 'prv_new',
        cost: { credits: 500 },
      });
      await millrace.sql(
        `insert into routes (id, model_id, provider, upstream_model, rank) values ('rte_new', 'sim/image', 'sim', 'sim-image', -1)`,
      );
      await ctx.refreshCatalogue();
      const routed = await account.run(image);
      expect(routed).toMatchObject({ status: 'succeeded', attempt: 1, cost: { credits: 500 } });
      const rows = await millrace.sql('select route_id from jobs where id = $1', [routed.id]);
      expect(rows).toEqual([{ route_id: 'rte_new' }]);
    } finally {
      await own.drain(0);
      await elsewhere.ctx.close();
      await elsewhere.leave();
      await millrace.sql(`update routes set enabled = false where id = 'rte_new'`);
      await ctx.refreshCatalogue();
    }
  });

  it('comes even of an answer that cannot be written down: the job fails, free, and its worker goes on', async () => {
    const sim = simProvider({ url: millrace.env['SIM_URL']! });
    const call: typeof sim.call = async (route, call) => {
      const result: CallResult = await sim.call(route, call);
      if (result.type !== 'succeeded' || result.output.kind !== 'chat' || !call.input.includes('poison'))
        return result;
      return { ...result, output: { ...result.output, completion: `${result.output.completion}\0` } };
    };
    const own = await startOwnWorker(millrace.platform, { ...sim, call });
    try {
      const account = await millrace.account();
      const [bad, good] = await Promise.all([account.run(chat('poison')), account.run(chat('bread'))]);
      expect(good).toMatchObject({ status: 'succeeded', attempt: 1 });
      expect(bad).toMatchObject({
        status: 'failed',
        attempt: 3,
        cost: { credits: 0 },
        error: { code: 'internal' },
      });
    } finally {
      await own.drain(0);
    }
  });
});

describe('a chat whose stop was asked', () => {
  const said = async ({ accountId, jobId, epoch: attempt }: Claimed, deltas: object[]): Promise<void> =>
    appendDeltas(millrace.platform.ctx.flow, [
      { accountId, jobId, attempt, first: 0, count: deltas.length, deltasJson: JSON.stringify(deltas) },
    ]);

  it('is charged from its stored deltas if its worker died, and is never run again', async () => {
    const { account, jobs } = await claimed(4);
    const [read, unread, asked, other] = jobs as [Claimed, Claimed, Claimed, Claimed];
    const words = [{ role: 'assistant', content: '' }, { content: 'All is ' }, { content: 'ground fine.' }];
    await said(read, words);
    await said(asked, words);
    await said(other, words);
    await account.post(`/v1/jobs/${read.jobId}/cancel`);
    await account.post(`/v1/jobs/${unread.jobId}/cancel`);
    await millrace.admin.post(`/v1/admin/accounts/${account.id}/jobs/${asked.jobId}/cancel`);
    await worker.die();
    worker = await hands.worker();
    // For one lease after PostgreSQL started nobody is taken for dead.
    for (;;) {
      await hands.sweep();
      if ((await statuses(account, jobs)).every((status) => status !== 'running')) break;
      await sleep(250);
    }

    const show = async ({ jobId }: Claimed): Promise<Json> => (await account.get(`/v1/jobs/${jobId}`)).body;
    const paid = await show(read);
    const prompt = Math.ceil(JSON.stringify(paid.input.messages).length / 4);
    const output = Math.ceil('All is ground fine.'.length / 4);
    expect(paid).toMatchObject({
      status: 'canceled',
      canceled_by: 'client',
      output: { text: 'All is ground fine.', completion: null },
      cost: { credits: prompt + 4 * output },
    });
    // Nobody can tell whether that call had begun: the doubt is its client's gain.
    expect(await show(unread)).toMatchObject({ status: 'canceled', cost: { credits: 0 } });
    expect(await show(asked)).toMatchObject({
      status: 'canceled',
      canceled_by: 'operator',
      cost: { credits: 0 },
    });
    // What the others' first attempts had said is the operator's loss, and they go on.
    expect(await show(other)).toMatchObject({ status: 'queued', attempt: 1, cost: null });
    for (const job of [asked, other]) {
      const [attempt] = await attemptsOf(millrace, job.jobId);
      expect(attempt).toMatchObject({
        outcome: 'interrupted',
        waste: String(Math.ceil((prompt + 4 * output) / 2)),
      });
    }
  });

  it('is free if the stop came before anything was sent', async () => {
    const { account, jobs } = await claimed(1);
    const sim = simProvider({ url: millrace.env['SIM_URL']! });
    const brake = openBrake();
    brake.pull('cancel');
    await account.post(`/v1/jobs/${jobs[0]!.jobId}/cancel`);
    const tools = { provider: () => sim, appendDeltas: async () => {}, pauses: new Pauses() };
    await hands.settle((await run(millrace.platform.ctx, tools, { claimed: jobs[0]!, brake }))!);
    await sim.close();
    const { body: job } = await account.get(`/v1/jobs/${jobs[0]!.jobId}`);
    expect(job).toMatchObject({
      status: 'canceled',
      canceled_by: 'client',
      cost: { credits: 0 },
      output: null,
    });
    expect(await simCalls(job.id)).toEqual([]);
  });
});

/** With an output that no text column takes. */
function poisoned(job: Claimed) {
  const settlement = answered(job);
  return {
    ...settlement,
    outcome: { ...settlement.outcome, output: '{"text":"\0"}' } as typeof settlement.outcome,
  };
}
