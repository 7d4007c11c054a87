// A change of an account's terms and the slots it sets free are one step; and a free slot that nobody saw is found.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { chat } from '../support/client.ts';
import { answered, type Hands, openHands } from '../support/hands.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';

let millrace: TestPlatform;
let hands: Hands;
let worker: { id: string };
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

/** An account of one slot, which is taken, with one in line. */
async function crowded(): Promise<TestAccount> {
  const account = await millrace.account({ overrides: { slots: 1 } });
  await account.submit(chat('runs'));
  await account.submit(chat('waits'));
  return account;
}
const waiting = async (account: TestAccount) =>
  (await account.get('/v1/account')).body.line.waiting as number;
const change = (account: TestAccount, body: object) =>
  millrace.admin.send('PATCH', `/v1/admin/accounts/${account.id}`, { body });
async function finish(account: TestAccount): Promise<void> {
  for (const job of await hands.claim(account, worker.id)) await hands.settle(answered(job));
}

it('changes nothing if those who wait cannot be served', async () => {
  const account = await crowded();
  await millrace.sql(`
    create function no_slots() returns trigger language plpgsql as $$ begin raise exception 'no slots today'; end $$;
    create trigger no_slots before update of slot on jobs for each row when (old.slot is null and new.slot is not null)
      execute function no_slots()`);
  try {
    const answer = await change(account, { overrides: { slots: 2 }, reason: 'test' });
    expect(answer.status).toBe(500);
  } finally {
    await millrace.sql('drop trigger no_slots on jobs; drop function no_slots()');
  }
  const [row] = await millrace.sql('select overrides, line_waiting from accounts where id = $1', [
    account.id,
  ]);
  expect(row).toEqual({ overrides: { slots: 1 }, line_waiting: 1 });
  expect(
    await millrace.sql('select 1 from audit_log where target = $1 and action = $2', [
      account.id,
      'account.change',
    ]),
  ).toEqual([]);

  const answer = await change(account, { overrides: { slots: 2 }, reason: 'test' });
  expect(answer.body).toMatchObject({ id: account.id, object: 'account', overrides: { slots: 2 } });
  expect(await waiting(account)).toBe(0);
  await finish(account);
});

it('changes the overrides that are named, takes away those that are null, and leaves the rest', async () => {
  const caps = [{ cap: 'image_count', max: 2 }];
  const overrides = { slots: 3, line_length: 4, caps, max_audio_ms: 5_000, max_deadline_s: 60 };
  const account = await millrace.account({ overrides });
  const at = `/v1/admin/accounts/${account.id}`;
  const got = (await millrace.admin.get(at)).body;
  expect(got.overrides).toEqual(overrides);
  // What was got may be sent back, and one alone changes no other.
  const same = await change(account, { overrides: got.overrides, reason: 'test' });
  expect(same.body).toEqual(got);
  const one = await change(account, {
    overrides: { slots: 5, caps: null, line_length: null },
    reason: 'test',
  });
  expect(one.body).toEqual({ ...got, overrides: { slots: 5, max_audio_ms: 5_000, max_deadline_s: 60 } });
  expect((await account.get('/v1/account')).body).toMatchObject({ slots: { total: 5 }, caps: {} });
  for (const wrong of [{ slots: 'null' }, { none: null }, { caps: [null] }]) {
    const { status } = await change(account, { overrides: wrong, reason: 'test' });
    expect(status, JSON.stringify(wrong)).toBe(400);
  }
  expect((await millrace.admin.get(at)).body).toEqual(one.body);
});

it('finds a line with a free slot that was changed past it, and leaves the others alone', async () => {
  const forgotten = await crowded();
  const full = await crowded();
  const suspended = await crowded();
  await change(suspended, { status: 'suspended', reason: 'test' });
  await millrace.sql(`update accounts set overrides = '{"slots": 2}' where id = any($1)`, [
    [forgotten.id, suspended.id],
  ]);
  await openHands(millrace).sweep();
  expect(await Promise.all([forgotten, full, suspended].map(waiting))).toEqual([0, 1, 1]);
  await change(suspended, { status: 'active', reason: 'test' });
  await Promise.all([forgotten, full, suspended].map(finish));
});
