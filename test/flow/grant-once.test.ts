// Credits are granted once, and accounts made once, though the answer was lost: to us, or to the operator.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openClient } from '../support/client.ts';
import { type PgProxy, startPgProxy } from '../support/pg-proxy.ts';
import { install, type Installation, startPlatform, type TestPlatform } from '../support/platform.ts';

let installation: Installation;
let proxy: PgProxy;
let millrace: TestPlatform;
beforeAll(async () => {
  installation = await install('postgres');
  proxy = await startPgProxy(installation.env['DATABASE_URL'] ?? '');
  millrace = await startPlatform({ worker: false, env: { DATABASE_URL: proxy.url } });
});
afterAll(async () => {
  const { body } = await millrace.admin.get('/v1/admin/invariants');
  await millrace.stop();
  await proxy.close();
  await installation.remove();
  expect(body).toMatchObject({ ok: true, breaches: [] });
});

const grant = (id: string, body: object, headers: Record<string, string> = {}) =>
  millrace.admin.post(`/v1/admin/accounts/${id}/grants`, { credits: 500, reason: 'test', ...body }, headers);
const key = (name: string) => ({ 'idempotency-key': name });
const available = async (id: string) =>
  (await millrace.admin.get(`/v1/admin/accounts/${id}`)).body.balance.available.credits as number;

describe('a grant', () => {
  it.each(['answer', 'request'] as const)(
    'is one, and is answered, if its COMMIT’s %s is lost',
    async (what) => {
      const { id } = await millrace.account({ credits: 0 });
      const lost = proxy.loseCommit(what, 'write-accounts');
      const granted = grant(id, {});
      await lost;
      const { status, body, headers } = await granted;
      expect({ status, body }).toMatchObject({ status: 201, body: { available: { credits: 500 } } });
      expect(headers['idempotent-replayed']).toBeUndefined();
      expect(await available(id)).toBe(500);
      const lots = await installation.sql('select id from lots where account_id = $1', [id]);
      expect(lots).toEqual([{ id: body.lot_id }]);
    },
  );

  it('is the same one at every repeat with its key, and nothing else is', async () => {
    const { id } = await millrace.account({ credits: 0 });
    const twins = await Promise.all([
      grant(id, {}, key('twin')),
      grant(id, {}, key('twin')),
      grant(id, {}, key('"twin"')),
    ]);
    const [first] = twins;
    for (const { status, body } of twins)
      expect({ status, body }).toEqual({ status: 201, body: first?.body });
    expect(twins.map(({ headers }) => headers['idempotent-replayed']).toSorted()).toEqual([
      'true',
      'true',
      undefined,
    ]);
    expect(await available(id)).toBe(500);
    const other = await grant(id, { credits: 501 }, key('twin'));
    expect(other).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } });
    await grant(id, {}, key('another'));
    await grant(id, {});
    await grant(id, {});
    expect(await available(id)).toBe(2_000);
  });

  it('that was refused has used no key', async () => {
    const absent = await grant('acc_00000000000000000000000000', {}, key('refused'));
    expect(absent.body.code).toBe('not_found');
    const { id } = await millrace.account({ credits: 0 });
    expect((await grant(id, {}, key('refused'))).status).toBe(201);
  });

  it('may use a key again after 30 days', async () => {
    const { id } = await millrace.account({ credits: 0 });
    await grant(id, {}, key('old'));
    await installation.sql(
      `update operator_requests set created_at = created_at - interval '31 days' where key = 'old'`,
    );
    await grant(id, { credits: 7 }, key('old'));
    expect(await available(id)).toBe(507);
    await installation.sql(
      `update operator_requests set created_at = created_at - interval '31 days' where key = 'old'`,
    );
    await grant(id, {});
    expect(await installation.sql(`select 1 from operator_requests where key = 'old'`)).toEqual([]);
  });
});

describe('a new account', () => {
  it('is one for its key, whose keys are shown again, and kept by nobody in the clear', async () => {
    const make = () =>
      millrace.admin.post('/v1/admin/accounts', { name: 'once', credits: 9_000 }, key('make'));
    const first = await make();
    const again = await make();
    expect(again).toMatchObject({ status: 201, body: first.body });
    expect(again.headers['idempotent-replayed']).toBe('true');
    const rows = await installation.sql(`select id from accounts where name = 'once' and livemode`);
    expect(rows).toEqual([{ id: first.body.id }]);
    const { body } = await openClient(millrace.url, again.body.api_key as string).get('/v1/account');
    expect(body).toMatchObject({ id: first.body.id, balance: { available: { credits: 9_000 } } });
    expect(await installation.sql('select 1 from audit_log where target = $1', [first.body.id])).toHaveLength(
      1,
    );
    const kept = await installation.sql<{ text: string }>(
      `select encode(answer, 'escape') as text from operator_requests where key = 'make'`,
    );
    expect(kept[0]?.text).not.toContain('mr_');
  });

  it('is one if its COMMIT’s answer is lost', async () => {
    const lost = proxy.loseCommit('answer', 'write-accounts');
    const made = millrace.admin.post('/v1/admin/accounts', { name: 'lost', credits: 1 });
    await lost;
    const { status, body } = await made;
    expect(status).toBe(201);
    expect(await installation.sql(`select id from accounts where name = 'lost' and livemode`)).toEqual([
      { id: body.id },
    ]);
    expect((await openClient(millrace.url, body.api_key as string).get('/v1/account')).status).toBe(200);
  });
});
