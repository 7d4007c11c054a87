// One key, one job: however often, through whatever way, and however the answer got lost.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { transaction } from '../../src/db/transaction.ts';
import { createKey } from '../../src/flow/accounts.ts';
import { chat, type Json, openClient } from '../support/client.ts';
import { type Hands, openHands } from '../support/hands.ts';
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
let account: TestAccount;
beforeAll(async () => {
  millrace = await startPlatform({ worker: false });
  hands = openHands(millrace);
  account = await millrace.account();
});
afterAll(async () => {
  const { body } = await millrace.admin.get('/v1/admin/invariants');
  await millrace.stop();
  expect(body).toMatchObject({ ok: true, breaches: [] });
});

const key = (name: string) => ({ 'idempotency-key': name });
const post = (job: unknown, name: string, client = account) => client.post('/v1/jobs', job, key(name));
const countJobs = async ({ id }: TestAccount): Promise<number> => {
  const [row] = await millrace.sql<{ n: number }>(
    'select count(*)::int as n from jobs where account_id = $1',
    [id],
  );
  return row?.n ?? 0;
};

describe('an Idempotency-Key', () => {
  it('makes one job, shown at every repeat as it is now', async () => {
    const first = await post(chat('once'), 'now');
    expect(first.status).toBe(202);
    expect(first.headers['idempotent-replayed']).toBeUndefined();
    const again = await post(chat('once'), 'now');
    expect(again).toMatchObject({ status: 202, headers: { 'idempotent-replayed': 'true' } });
    expect(again.body).toMatchObject({ id: first.body.id, status: 'queued', hold: first.body.hold });
    await account.post(`/v1/jobs/${first.body.id}/cancel`);
    const late = await post(chat('once'), 'now');
    expect(late).toMatchObject({ status: 200, headers: { 'idempotent-replayed': 'true' } });
    expect(late.body).toMatchObject({ id: first.body.id, status: 'canceled' });
  });

  it('is bound to the body’s bytes', async () => {
    const { body: job } = await post(chat('mine'), 'bytes');
    const other = [
      chat('other'),
      { ...chat('mine'), max_credits: 999_999 },
      `${JSON.stringify(chat('mine'))} `,
    ];
    for (const body of other) {
      const refused = await account.post('/v1/jobs', body, {
        ...key('bytes'),
        'content-type': 'application/json',
      });
      expect(refused).toMatchObject({
        status: 422,
        headers: { 'x-should-retry': 'false' },
        body: { code: 'idempotency_key_reused', details: { job_id: job.id } },
      });
    }
    expect((await post(chat('mine'), 'bytes')).body.id).toBe(job.id);
  });

  it('is not consumed by a refusal, of any sort', async () => {
    const poor = await millrace.account({ credits: 0 });
    const ask = (job: unknown) => post(job, 'again', poor);
    expect((await ask(chat('poor'))).body.code).toBe('out_of_credits');
    expect((await ask({ ...chat('poor'), max_credits: 1 })).body.code).toBe('cost_over_max');
    expect((await ask({ ...chat('poor'), model: 'sim/none' })).body.code).toBe('model_not_found');
    expect((await ask({ ...chat('poor'), nonsense: 1 })).body.code).toBe('invalid_request');
    await millrace.admin.post(`/v1/admin/accounts/${poor.id}/grants`, { credits: 1_000_000, reason: 'test' });
    const job = await ask(chat('poor, corrected'));
    expect(job.status).toBe(202);
    expect(job.headers['idempotent-replayed']).toBeUndefined();
    expect((await ask(chat('poor'))).body).toMatchObject({
      code: 'idempotency_key_reused',
      details: { job_id: job.body.id },
    });
  });

  it('may be quoted or bare, and holds 1 to 255 printable characters', async () => {
    const { body: job } = await post(chat('quoted'), '"q 1"');
    expect((await post(chat('quoted'), 'q 1')).body.id).toBe(job.id);
    for (const good of ['x', '"', '~'.repeat(255), `"${'x'.repeat(255)}"`])
      expect((await post(chat('good'), good)).status, good).toBe(202);
    for (const bad of ['', '""', 'x'.repeat(256), `"${'x'.repeat(256)}"`, 'tab\there', 'fünf'])
      expect((await post(chat('bad'), bad)).body, bad).toMatchObject({ code: 'invalid_request' });
  });

  it('belongs to the account: all its API keys share it, and no other account does', async () => {
    const { ctx } = millrace.platform;
    const token = await transaction(ctx.flow, (tx) =>
      createKey(ctx, tx, { accountId: account.id, mode: 'live', name: 'second' }),
    );
    const { body: job } = await post(chat('shared'), 'shared');
    const twin = await openClient(millrace.url, token).post('/v1/jobs', chat('shared'), key('shared'));
    expect(twin).toMatchObject({ headers: { 'idempotent-replayed': 'true' }, body: { id: job.id } });
    const stranger = await millrace.account();
    const theirs = await post(chat('quite another'), 'shared', stranger);
    expect(theirs.status).toBe(202);
    expect(theirs.body.id).not.toBe(job.id);
    const inTest = await openClient(millrace.url, account.testKey).post(
      '/v1/jobs',
      chat('in test'),
      key('shared'),
    );
    expect(inTest).toMatchObject({ status: 202, body: { livemode: false } });
  });

  it('means nothing to a dry run', async () => {
    const before = await countJobs(account);
    const quote = await account.post('/v1/jobs?dry_run=true', chat('dry'), key('dry'));
    expect(quote).toMatchObject({ status: 200, body: { object: 'quote', admitted: true } });
    expect(await countJobs(account)).toBe(before);
    const job = await post(chat('wet'), 'dry');
    expect(job.headers['idempotent-replayed']).toBeUndefined();
    expect((await account.post('/v1/jobs?dry_run=true', chat('dry'), key('dry'))).status).toBe(200);
  });

  it('makes one job of twins that travel together, and tells a false twin', async () => {
    const rich = await millrace.account();
    const [first, twin, liar, other] = await Promise.all([
      hands.request(rich, chat('twins'), 'k'),
      hands.request(rich, chat('twins'), 'k'),
      hands.request(rich, chat('lies'), 'k'),
      hands.request(rich, chat('other'), 'l'),
    ]);
    // All of one turn of the event loop, so of one list.
    const answers = await Promise.all(
      [first, twin, liar, other].map((request) => hands.admit({ requests: [request], atomic: false })),
    );
    const [a, b, c, d] = answers.map(([answer]) => answer as Json);
    expect(a).toMatchObject({ job: { id: first.jobId }, replayed: false });
    expect(b).toMatchObject({ job: { id: first.jobId }, replayed: true });
    expect(c.refusal).toMatchObject({ code: 'idempotency_key_reused', details: { job_id: first.jobId } });
    expect(d).toMatchObject({ job: { id: other.jobId }, replayed: false });
    expect(await countJobs(rich)).toBe(2);
  });

  it('is kept for thirty days', async () => {
    const old = await millrace.account();
    const { body: job } = await post(chat('old'), 'month', old);
    try {
      await millrace.sql(`update clock set shift = interval '30 days' - interval '1 minute'`);
      expect((await post(chat('old'), 'month', old)).body.id).toBe(job.id);
      await millrace.sql(`update clock set shift = interval '30 days 1 minute'`);
      const fresh = await post(chat('something else'), 'month', old);
      expect(fresh.status).toBe(202);
      expect(fresh.headers['idempotent-replayed']).toBeUndefined();
      expect(fresh.body.id).not.toBe(job.id);
      expect((await post(chat('something else'), 'month', old)).body.id).toBe(fresh.body.id);
    } finally {
      await millrace.sql(`update clock set shift = interval '0'`);
    }
  });
});

describe('of a batch', () => {
  const batch = (client: TestAccount, name: string, jobs: unknown[], rest: object = {}) =>
    client.post('/v1/jobs/batch', { jobs, ...rest }, key(name));

  it('it holds for each index by itself', async () => {
    const client = await millrace.account();
    const jobs = [chat('a'), { ...chat('b'), model: 'sim/none' }, chat('c')];
    const first = (await batch(client, 'each', jobs)).body.data;
    expect(first.map(({ status }: Json) => status)).toEqual([202, 404, 202]);
    // What was refused is judged again; what was admitted is shown as it is now.
    const second = (await batch(client, 'each', [jobs[0], chat('b'), chat('changed')])).body.data;
    expect(second[0].job.id).toBe(first[0].job.id);
    expect(second[1]).toMatchObject({ status: 202, job: { status: 'queued' } });
    expect(second[2]).toMatchObject({
      status: 422,
      error: { code: 'idempotency_key_reused', details: { job_id: first[2].job.id } },
    });
    expect(await countJobs(client)).toBe(3);
  });

  it('it holds for the whole if all or nothing was asked', async () => {
    const client = await millrace.account({ overrides: { slots: 1, line_length: 2 } });
    const whole = { all_or_nothing: true };
    const four = [chat('a'), chat('b'), chat('c'), chat('d')];
    expect(await batch(client, 'whole', four, whole)).toMatchObject({
      status: 429,
      body: { code: 'queue_full' },
    });
    expect(await batch(client, 'whole', [chat('a'), { model: 'x' }], whole)).toMatchObject({ status: 400 });
    expect(await countJobs(client)).toBe(0);
    expect((await client.get('/v1/account')).body).toMatchObject({
      balance: { held: { credits: 0 } },
      slots: { used: 0 },
      line: { waiting: 0 },
    });
    const first = await batch(client, 'whole', four.slice(0, 3), whole);
    expect(first.body.data.map(({ status }: Json) => status)).toEqual([202, 202, 202]);
    const again = await batch(client, 'whole', four.slice(0, 3), whole);
    expect(again.body.data.map(({ job }: Json) => job.id)).toEqual(
      first.body.data.map(({ job }: Json) => job.id),
    );
    for (const other of [four.slice(0, 2), [chat('a'), chat('b'), chat('x')]])
      expect(await batch(client, 'whole', other, whole)).toMatchObject({
        status: 422,
        body: { code: 'idempotency_key_reused', details: { job_id: first.body.data[0].job.id } },
      });
    expect(await countJobs(client)).toBe(3);
  });
});

describe('a COMMIT whose fate is unknown', () => {
  let installation: Installation;
  let proxy: PgProxy;
  let apart: TestPlatform;
  beforeAll(async () => {
    installation = await install('postgres');
    proxy = await startPgProxy(installation.env['DATABASE_URL']!);
    apart = await startPlatform({ worker: false, env: { DATABASE_URL: proxy.url } });
  });
  afterAll(async () => {
    await apart.stop();
    await proxy.close();
    await installation.remove();
  });

  it.each(['answer', 'request'] as const)(
    'makes one job, and its client hears of it: its %s is lost',
    async (what) => {
      const client = await apart.account({ credits: 1_000_000 });
      const lost = proxy.loseCommit(what, 'insert-jobs');
      const submitted = client.post('/v1/jobs', chat('lost'), key('lost'));
      await lost;
      const answer = await submitted;
      expect(answer.status).toBe(202);
      expect(answer.headers['idempotent-replayed']).toBeUndefined();
      const rows = await installation.sql('select id, slot from jobs where account_id = $1', [client.id]);
      expect(rows).toEqual([{ id: answer.body.id, slot: 1 }]);
      const { body: me } = await client.get('/v1/account');
      expect(me.balance.held).toEqual(answer.body.hold);
      expect(me.balance.available.credits).toBe(1_000_000 - answer.body.hold.credits);
      const { body: audit } = await apart.admin.get('/v1/admin/invariants');
      expect(audit).toMatchObject({ ok: true, breaches: [] });
    },
  );
});
