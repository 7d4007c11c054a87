// What a client can recompute by itself: the list of movements, and each job's own account.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { chat, type Json } from '../support/client.ts';
import { answered, type Hands, openHands } from '../support/hands.ts';
import { ledgerOf } from '../support/look.ts';
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

/** All of an account's movements, page by page. */
async function movements(account: TestAccount): Promise<Json[]> {
  const all: Json[] = [];
  for (let after = ''; ;) {
    const { body } = await account.get(`/v1/transactions?limit=3${after && `&after=${after}`}`);
    all.push(...body.data);
    if (!body.has_more) return all;
    after = body.next_after as string;
  }
}

const grant = (account: TestAccount, credits: number, inSeconds: number) =>
  millrace.admin.post(`/v1/admin/accounts/${account.id}/grants`, {
    credits,
    reason: 'test',
    expires_at: new Date(Date.now() + inSeconds * 1000).toISOString(),
  });

/** Jobs of every end, of lots of three sorts, of which one lapses in the middle. */
async function busyAccount(): Promise<{ account: TestAccount; jobs: Json[]; lapsing: string }> {
  const account = await millrace.account({ credits: 5_000_000, overrides: { slots: 5, line_length: 5 } });
  // In the middle of the third job's hold.
  const lot = await grant(account, 40_000, 3_600);
  await grant(account, 70_000, 90_000);
  for (let i = 0; i < 6; i++) await account.submit({ ...chat(`${i}`), expires_in: 36_000 });
  const worker = await hands.worker();
  const [succeeded, failed, late] = await hands.claim(account, worker.id);
  await hands.settle(answered(succeeded!));
  const error = {
    type: 'failed',
    code: 'provider_rejected',
    message: 'No.',
    retryable: false,
    retryAfterMs: null,
    ambiguous: false,
    billed: null,
  } as const;
  await hands.settle({ ...failed!, outcome: error, evidence: null, artifacts: [] });
  try {
    await millrace.sql(`update clock set shift = interval '2 hours'`);
    await hands.sweep();
    await hands.settle(answered(late!));
    const { body } = await account.get('/v1/jobs?status=queued');
    await account.post(`/v1/jobs/${body.data[0].id}/cancel`);
  } finally {
    await millrace.sql(`update clock set shift = interval '0'`);
  }
  const { body: listed } = await account.get('/v1/jobs?order=asc');
  return { account, jobs: listed.data, lapsing: lot.body.lot_id };
}

it('lists every movement of the balance, each with what it left', async () => {
  const { account, jobs } = await busyAccount();
  const rows = await movements(account);
  let balance = 0;
  for (const [i, row] of rows.entries()) {
    expect(row.sequence).toBe(i + 1);
    const sign = { grant: 1, release: 1, hold: -1, capture: -1, expire: -1 }[row.type as string]!;
    expect(Math.sign(row.amount)).toBe(sign);
    expect(row.available_change).toBe(row.type === 'capture' ? 0 : row.amount);
    balance += row.available_change;
    expect(row.balance_after).toBe(balance);
    expect(row.job_id === null).toBe(row.type === 'grant' || (row.type === 'expire' && row.job_id === null));
  }
  const { body: me } = await account.get('/v1/account');
  expect(me.balance.available.credits).toBe(balance);
  const count = (type: string) => rows.filter((row) => row.type === type).length;
  expect([count('grant'), count('hold'), count('capture'), count('release')]).toEqual([3, 6, 2, 4]);
  // One of what lay free in the lot, one of what came back to it.
  expect(rows.filter(({ type }) => type === 'expire').map(({ job_id }) => job_id === null)).toEqual([
    true,
    false,
  ]);
  const held = jobs
    .filter(({ ended_at }) => ended_at === null)
    .reduce((sum, job) => sum + job.hold.credits, 0);
  expect(me.balance.held.credits).toBe(held);
  // Backwards it is the same list.
  const { body: newest } = await account.get('/v1/transactions?order=desc&limit=100');
  expect(newest.data.toReversed()).toEqual(rows);
  const { body: middle } = await account.get('/v1/transactions?after=4&before=8');
  expect(middle.data).toEqual(rows.slice(4, 7));
});

it('shows by lot what is free and what is held, to its owner as to the operator', async () => {
  const { account } = await busyAccount();
  const { balance } = (await account.get('/v1/account')).body;
  const { body: seen } = await millrace.admin.get(`/v1/admin/accounts/${account.id}`);
  // The operator sees those that are empty, too.
  const open = seen.balance.lots.filter((lot: Json) => lot.remaining.credits > 0 || lot.held.credits > 0);
  expect(open).toEqual(balance.lots);
  expect(seen.balance.lots.length).toBeGreaterThan(open.length);
  for (const [sum, field] of [
    [balance.available, 'remaining'],
    [balance.held, 'held'],
  ]) {
    expect(sum.credits).toBeGreaterThan(0);
    expect(balance.lots.reduce((total: number, lot: Json) => total + lot[field].credits, 0)).toBe(
      sum.credits,
    );
  }
});

it('accounts for each credit of each job: held, kept, given back, still open', async () => {
  const { account, jobs } = await busyAccount();
  expect(new Set(jobs.map(({ status }) => status))).toEqual(
    new Set(['succeeded', 'failed', 'canceled', 'running']),
  );
  const sum = (lots: Json[]): number => lots.reduce((total, { credits }) => total + credits, 0);
  for (const job of jobs) {
    const { body } = await account.get(`/v1/jobs/${job.id}/explain`);
    const { hold, settlement } = body;
    const { captured, released, open } = settlement;
    expect(hold.credits).toBe(job.hold.credits);
    expect(captured.credits + released.credits + open.credits).toBe(hold.credits);
    expect(captured.credits).toBe(job.cost?.credits ?? 0);
    expect(open.credits).toBe(job.ended_at === null ? hold.credits : 0);
    for (const part of [hold, captured, released]) expect(sum(part.lots)).toBe(part.credits);
    // Lot by lot too: what was kept and what went back is what was taken.
    for (const { lot_id, credits } of job.ended_at === null ? [] : hold.lots) {
      const of = (lots: Json[]) => sum(lots.filter((lot) => lot.lot_id === lot_id));
      expect(of(captured.lots) + of(released.lots)).toBe(credits);
    }
    expect(body.attempts).toHaveLength(job.attempt);
  }
});

it('does not give back to a lot that lapsed meanwhile', async () => {
  const { account, jobs, lapsing } = await busyAccount();
  const late = jobs[2];
  expect(late.status).toBe('succeeded');
  const ledger = await ledgerOf(millrace, late.id);
  expect(ledger.filter(({ type }) => type === 'expire')).toEqual([
    { type: 'expire', from_bucket: 'available', to_bucket: 'expired', amount: expect.any(Number) },
  ]);
  const { body: explained } = await account.get(`/v1/jobs/${late.id}/explain`);
  const of = (lots: Json[]) => lots.find(({ lot_id }) => lot_id === lapsing)?.credits ?? 0;
  // What was used is still paid from it, being held before it lapsed; the rest of it is gone.
  expect(of(explained.settlement.captured.lots)).toBe(13);
  const expired = ledger.find(({ type }) => type === 'expire')?.amount;
  expect(expired).toBe(of(explained.settlement.released.lots));
  expect(expired).toBeGreaterThan(0);
  const [lot] = await millrace.sql('select granted::int, remaining::int, held::int from lots where id = $1', [
    lapsing,
  ]);
  expect(lot).toEqual({ granted: 40_000, remaining: 0, held: 0 });
  const events = await millrace.sql<{ body: string }>(
    `select body from events where account_id = $1 and type = 'credits.expired'`,
    [account.id],
  );
  expect(events.map(({ body }) => JSON.parse(body).data.lot_id)).toEqual([lapsing]);
});
