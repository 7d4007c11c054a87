// An account of many pages, and audits that may only take so long.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { audit } from '../../src/flow/audit.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { broken } from './broken.ts';
import { addEndedJobs } from './many-jobs.ts';

const JOBS = 7_000;
/** And the grant that began it. */
const ENTRIES = 3 * JOBS + 1;

let millrace: TestPlatform;
let large: TestAccount;
let small: TestAccount[];
beforeAll(async () => {
  millrace = await startPlatform({ worker: false });
  const before = await millrace.account();
  large = await millrace.account({ credits: 1_000_000 });
  small = [before, await millrace.account(), await millrace.account()];
  await addEndedJobs(millrace, large, JOBS);
});
afterAll(() => millrace.stop());

const whole = () => audit(millrace.platform.ctx);
const quick = () => audit(millrace.platform.ctx, { from: 'checkpoints' });
const within = { after: '', rows: 1_000, artifacts: 0, artifactBytes: 0 };
const bounded = (rest: Partial<typeof within> = {}) =>
  audit(millrace.platform.ctx, { from: 'checkpoints', within: { ...within, ...rest } });
const CLEAN = { ok: true, breaches: [] };

describe('an account larger than a page', () => {
  it('is read to the last row, and then only what is new of it', async () => {
    const first = await whole();
    expect(first).toMatchObject(CLEAN);
    const rows = (report: typeof first) =>
      Object.fromEntries(report.invariants.map(({ id, rows }) => [id, rows]));
    const { I1, I2, I4, I5 } = rows(first);
    expect([I2, I5]).toEqual([JOBS, JOBS]);
    expect(I1).toBeGreaterThanOrEqual(2 * ENTRIES);
    expect(I4).toBeGreaterThanOrEqual(3 * JOBS);
    await addEndedJobs(millrace, large, 10);
    const second = await quick();
    expect(second).toMatchObject(CLEAN);
    expect(rows(second)).toMatchObject({ I2: 10, I5: 10 });
    expect(rows(second)['I1']).toBeLessThan(100);
    expect(rows(await quick())).toMatchObject({ I2: 0, I5: 0 });
  });

  // 10,000 entries are a page.
  it.each([2, 9_999, 10_000, 10_001, 10_002, 20_000, 20_001, ENTRIES])(
    'has entry %i gone, which is named',
    async (number) => {
      const spoil = `delete from ledger_transactions where account_id = '${large.id}' and sequence = ${number}`;
      const [next] = await millrace.sql<{ id: string }>(
        'select id from ledger_transactions where account_id = $1 and sequence = $2',
        [large.id, number + 1],
      );
      const { breaches } = await broken(millrace, { tables: ['ledger_transactions'], sql: spoil }, whole);
      expect(breaches).toContainEqual({
        invariant: 'I1',
        account_id: large.id,
        subject: next!.id,
        what: expect.stringContaining(`the number before it is ${number - 1}`),
      });
      expect(breaches).toContainEqual({
        invariant: 'I1',
        account_id: large.id,
        subject: large.id,
        what: `lines of transaction ${number}, which is not there`,
      });
    },
  );

  it.each([1, 4_999, 5_000, 5_001, JOBS])('has job %i with another cost, which is named', async (number) => {
    const [job] = await millrace.sql<{ id: string }>(
      `select id from jobs where account_id = $1 order by id offset ${number - 1} limit 1`,
      [large.id],
    );
    const spoil = `update jobs set cost = cost + 1 where id = '${job!.id}'`;
    const { breaches } = await broken(millrace, { tables: ['jobs'], sql: spoil }, whole);
    expect(breaches).toEqual([
      { invariant: 'I5', account_id: large.id, subject: job!.id, what: expect.any(String) },
    ]);
  });

  it('has an event gone, which is named', async () => {
    const spoil = `delete from events where account_id = '${large.id}' and sequence = 10001`;
    const { breaches } = await broken(millrace, { tables: ['events'], sql: spoil }, whole);
    expect(breaches).toContainEqual({
      invariant: 'I4',
      account_id: large.id,
      subject: large.id,
      what: expect.stringMatching(/^account: of its events \d+ to \d+ there are \d+$/),
    });
  });

  it('has an entry of an amount that no sum can hold, which is named', async () => {
    const spoil = `update ledger_lines set amount = 9223372036854775807 where account_id = '${large.id}' and sequence in (2, 5)`;
    const { breaches } = await broken(millrace, { tables: ['ledger_lines'], sql: spoil }, whole);
    expect(breaches.map(({ subject }) => subject)).toContain(large.id);
  });
});

describe('an account whose old events are no longer kept', () => {
  it.each([
    ['some of them', 'and sequence <= 3'],
    ['all of them', ''],
  ])('is as right as before: %s', async (_, which) => {
    const quiet = await millrace.account();
    await addEndedJobs(millrace, quiet, 5);
    expect(await quick()).toMatchObject(CLEAN);
    await millrace.sql(`update jobs set created_at = created_at - interval '40 days' where account_id = '${quiet.id}';
      delete from events where account_id = '${quiet.id}' ${which}`);
    for (const look of [whole, quick, bounded]) expect(await look()).toMatchObject(CLEAN);
    await addEndedJobs(millrace, quiet, 5);
    for (const look of [bounded, quick, whole]) expect(await look()).toMatchObject(CLEAN);
  });
});

describe('a bounded audit', () => {
  const spoilt = () => `update accounts set available = available + 1 where id = '${small[2]!.id}'`;

  it('says which account it left out, and judges the others', async () => {
    await millrace.sql('delete from audit_checkpoints');
    const report = await bounded();
    expect(report).toMatchObject({
      ...CLEAN,
      covered: { complete: false, leftOut: [large.id], nextAfter: null },
    });
    const found = await broken(millrace, { tables: ['accounts'], sql: spoilt() }, bounded);
    expect(found.breaches.map(({ subject }) => subject)).toEqual([small[2]!.id]);
    // It writes nothing: whoever asks cannot move what others start from.
    expect(await millrace.sql('select 1 from audit_checkpoints')).toEqual([]);
    expect(await whole()).toMatchObject(CLEAN);
    expect((await bounded()).covered).toMatchObject({ complete: true, leftOut: [] });
  });

  it('says where it stopped, and goes on there', async () => {
    const { accounts } = (await whole()).covered;
    expect(accounts).toBeGreaterThanOrEqual(4);
    await broken(millrace, { tables: ['accounts'], sql: spoilt() }, async () => {
      let covered = 0;
      const named: string[] = [];
      for (let after: string | null = ''; after !== null;) {
        // Room for two accounts of which nothing is new.
        const report = await bounded({ after, rows: 25 });
        covered += report.covered.accounts;
        named.push(
          ...report.breaches.filter(({ invariant }) => invariant === 'I1').map(({ subject }) => subject),
        );
        expect(report.covered.complete).toBe(report.covered.nextAfter === null);
        after = report.covered.nextAfter;
      }
      expect(covered).toBe(accounts);
      expect(named).toEqual([small[2]!.id]);
    });
  });

  it('counts lots, which it reads too, and reads them of a few accounts at a time', async () => {
    const before =
      [...small, large]
        .map(({ id }) => id)
        .toSorted()
        .at(-1) ?? '';
    const savers = [await millrace.account(), await millrace.account(), await millrace.account()];
    const LOTS = 15_000;
    for (const { id } of savers)
      await millrace.sql(
        `insert into lots (id, account_id, source, granted, remaining)
          select 'lot_' || n || right($1, 20), $1, 'grant', 0, 0 from generate_series(1, ${LOTS}) n`,
        [id],
      );
    const I1 = (report: Awaited<ReturnType<typeof bounded>>) =>
      report.invariants.find(({ id }) => id === 'I1')?.rows ?? 0;
    const report = await bounded({ after: before });
    expect(report).toMatchObject({ ...CLEAN, covered: { leftOut: savers.map(({ id }) => id) } });
    const first = await bounded({ after: before, rows: LOTS + 100 });
    expect(first.covered.nextAfter! < savers[1]!.id).toBe(true);
    expect(I1(first)).toBeLessThan(savers.length * LOTS);
    expect(await whole()).toMatchObject(CLEAN);
    await millrace.sql('delete from lots where account_id = any($1) and granted = 0', [
      savers.map(({ id }) => id),
    ]);
  });

  it('is what the API answers with, and the API goes on after an account too', async () => {
    const all = (await millrace.admin.get('/v1/admin/invariants')).body;
    expect(all).toMatchObject({ ...CLEAN, covered: { complete: true, left_out: [], next_after: null } });
    const { body } = await millrace.admin.get(`/v1/admin/invariants?after=${large.id}`);
    expect(body.covered.accounts).toBeGreaterThan(0);
    expect(body.covered.accounts).toBeLessThan(all.covered.accounts);
  });
});
