// The line: who waits keeps a place, and who leaves gives one back.
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Outcome } from '../../src/domain/outcome.ts';
import type { Claimed } from '../../src/store/claims.ts';
import { chat, type Json } from '../support/client.ts';
import { answered, type Hands, openHands } from '../support/hands.ts';
import { ledgerOf } from '../support/look.ts';
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

const narrow = (line_length = 10) => millrace.account({ overrides: { slots: 1, line_length } });
const show = async (account: TestAccount, id: string): Promise<Json> =>
  (await account.get(`/v1/jobs/${id}`)).body;
const submit = async (account: TestAccount, name: string, rest: object = {}): Promise<string> =>
  (await account.submit({ ...chat(name), ...rest })).id as string;
const end = ({ accountId, jobId, epoch }: Claimed, outcome: Outcome) =>
  hands.settle({ accountId, jobId, epoch, outcome, evidence: null, artifacts: [] });
const failedFor = (retryAfterMs: number): Outcome => ({
  type: 'failed',
  code: 'provider_rate_limited',
  message: 'Slower.',
  retryable: true,
  retryAfterMs,
  ambiguous: false,
  billed: null,
});
async function later(interval: string, act: () => Promise<void>): Promise<void> {
  try {
    await millrace.sql('update clock set shift = $1::interval', [interval]);
    await act();
  } finally {
    await millrace.sql(`update clock set shift = interval '0'`);
  }
}

it('gives a back-off’s slot to the next and keeps its place', async () => {
  const account = await narrow();
  const ids = [await submit(account, 'a'), await submit(account, 'b'), await submit(account, 'c')];
  const [a, b, c] = ids as [string, string, string];
  const [first] = await hands.claim(account, worker.id);
  expect(first?.jobId).toBe(a);
  await end(first!, failedFor(60_000));
  expect(await show(account, a)).toMatchObject({
    status: 'queued',
    attempt: 1,
    queue: { position: 0, waiting_for: 'retry' },
  });
  expect(await show(account, b)).toMatchObject({ queue: { position: 0, waiting_for: 'worker' } });
  expect(await show(account, c)).toMatchObject({ queue: { position: 1, waiting_for: 'slot' } });

  // Not due yet: a free slot passes it by.
  const [second] = await hands.claim(account, worker.id);
  await hands.settle(answered(second!));
  expect(await show(account, c)).toMatchObject({ queue: { position: 0, waiting_for: 'worker' } });
  const d = await submit(account, 'd');
  // Due, and before whoever came after it, once the sweep has seen that the back-off is over.
  await later('61 seconds', async () => {
    await hands.sweep();
    const [third] = await hands.claim(account, worker.id);
    expect(third?.jobId).toBe(c);
    await hands.settle(answered(third!));
    const [again] = await hands.claim(account, worker.id);
    expect(again).toMatchObject({ jobId: a, epoch: 2, slot: 1 });
    await hands.settle(answered(again!));
    const [last] = await hands.claim(account, worker.id);
    expect(last?.jobId).toBe(d);
    await hands.settle(answered(last!));
  });
});

it('wakes a back-off that ran out, though nobody else moves', async () => {
  const account = await narrow();
  const id = await submit(account, 'alone');
  const [job] = await hands.claim(account, worker.id);
  await end(job!, failedFor(60_000));
  await hands.sweep();
  expect(await hands.claim(account, worker.id)).toEqual([]);
  await later('61 seconds', async () => {
    await hands.sweep();
    const [again] = await hands.claim(account, worker.id);
    expect(again).toMatchObject({ jobId: id, epoch: 2 });
    await hands.settle(answered(again!));
  });
});

it('lets go of who waited past the deadline, in the line or with a slot, and of nobody else', async () => {
  const account = await narrow(2);
  const slotted = await submit(account, 'slot', { expires_in: 60 });
  const waiting = await submit(account, 'line', { expires_in: 60 });
  const patient = await submit(account, 'patient');
  expect((await account.post('/v1/jobs', chat('no room'))).body.code).toBe('queue_full');
  await later('61 seconds', async () => {
    // Nobody begins it any more, sweep or not.
    expect(await hands.claim(account, worker.id)).toEqual([]);
    await hands.sweep();
    for (const id of [slotted, waiting]) {
      const job = await show(account, id);
      expect(job).toMatchObject({
        status: 'expired',
        attempt: 0,
        cost: { credits: 0 },
        error: { code: 'deadline_exceeded' },
      });
      expect((await ledgerOf(millrace, id)).map(({ type }) => type)).toEqual(['hold', 'release']);
    }
    expect((await account.get('/v1/account')).body).toMatchObject({
      slots: { used: 1 },
      line: { waiting: 0 },
    });
    const [next] = await hands.claim(account, worker.id);
    expect(next?.jobId).toBe(patient);
    await hands.settle(answered(next!));
  });
});

it('takes back who was interrupted, at no attempt, nine times; the tenth fails, free', async () => {
  const account = await narrow();
  const id = await submit(account, 'unlucky');
  const behind = await submit(account, 'behind');
  for (let i = 1; i <= 10; i++) {
    const [job] = await hands.claim(account, worker.id);
    // First in line again each time: an interruption costs no place either.
    expect(job).toMatchObject({ jobId: id, epoch: i, slot: 1 });
    await end(job!, { type: 'interrupted', used: null });
    expect(await show(account, id)).toMatchObject({ status: i < 10 ? 'queued' : 'failed', attempt: i });
  }
  expect(await show(account, id)).toMatchObject({
    cost: { credits: 0 },
    error: { code: 'internal', retryable: true },
  });
  const [row] = await millrace.sql('select failures, interruptions from jobs where id = $1', [id]);
  // The tenth ended it; its own count is of those that sent it back.
  expect(row).toEqual({ failures: 0, interruptions: 9 });
  const [next] = await hands.claim(account, worker.id);
  expect(next?.jobId).toBe(behind);
  await hands.settle(answered(next!));
});

it('lets nobody in while the account is suspended, nor out of the line; and goes on when it is reinstated', async () => {
  const account = await narrow();
  const first = await submit(account, 'first');
  const second = await submit(account, 'second');
  const [job] = await hands.claim(account, worker.id);
  expect(job?.jobId).toBe(first);
  const set = (status: string) =>
    millrace.admin.send('PATCH', `/v1/admin/accounts/${account.id}`, { body: { status, reason: 'test' } });
  await set('suspended');
  expect((await account.post('/v1/jobs', chat('third'))).body.code).toBe('account_suspended');
  await hands.settle(answered(job!));
  expect(await hands.claim(account, worker.id)).toEqual([]);
  expect(await show(account, second)).toMatchObject({ queue: { position: 0, waiting_for: 'slot' } });
  await set('active');
  const [next] = await hands.claim(account, worker.id);
  expect(next?.jobId).toBe(second);
  await hands.settle(answered(next!));
});
