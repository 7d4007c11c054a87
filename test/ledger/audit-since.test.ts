// Audits that start at checkpoints: what they see, what only a whole audit sees, and how one hands on to the next.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { audit, type AuditReport } from '../../src/flow/audit.ts';
import { forgetCheckpoints, readCheckpoints, saveCheckpoints } from '../../src/ledger/audit-checkpoints.ts';
import { chat, type Json } from '../support/client.ts';
import { startPlatform, type TestPlatform } from '../support/platform.ts';
import { type Books, fillBooks } from './books.ts';
import { BREAKS } from './breaks.ts';
import { broken } from './broken.ts';

let millrace: TestPlatform;
let books: Books;
beforeAll(async () => {
  millrace = await startPlatform({ env: { SWEEP_MS: '100', DRAIN_SECONDS: '0' } });
  books = await fillBooks(millrace, async () => {
    expect(await whole()).toMatchObject(CLEAN);
    await millrace.sql('create table early as select * from audit_checkpoints');
  });
  expect(await whole()).toMatchObject(CLEAN);
  await millrace.sql('create table late as select * from audit_checkpoints');
});
afterAll(() => millrace.stop());

const whole = () => audit(millrace.platform.ctx);
const quick = () => audit(millrace.platform.ctx, { from: 'checkpoints' });
const CLEAN = { ok: true, breaches: [] };
const ALL_BREAKS = Object.entries(BREAKS).flatMap(([invariant, breaks]) =>
  breaks.map((kind) => [`${invariant}: ${kind.what}`, invariant, kind] as const),
);

/** `early`: before anything was done. `late`: after all of it. */
const checkpointsAre = (when: 'early' | 'late') =>
  millrace.sql(`delete from audit_checkpoints; insert into audit_checkpoints select * from "${when}"`);
const checkpointOf = async (id: string) => {
  const [row] = await millrace.sql<{ ledger: string; events: string }>(
    `select ledger_sequence as ledger, event_sequence as events from audit_checkpoints where account_id = $1`,
    [id],
  );
  return row && [Number(row.ledger), Number(row.events)];
};
const rowsOf = ({ invariants }: AuditReport, id: string) => invariants.find((one) => one.id === id)?.rows;

describe('an audit since checkpoints', () => {
  beforeEach(() => checkpointsAre('early'));

  it('finds what is right to be right, and moves the checkpoints to where it looked', async () => {
    const first = await quick();
    expect(first).toMatchObject({ ...CLEAN, covered: { complete: true, leftOut: [], nextAfter: null } });
    expect(first.covered.resumed).toBe(first.covered.accounts);
    expect(rowsOf(first, 'I10')).toBe(1);
    // Three jobs of each of the two accounts, and one image.
    expect(rowsOf(first, 'I2')).toBe(7);
    const [account] = await millrace.sql<{ ledger: string; events: string }>(
      'select ledger_sequence as ledger, event_sequence as events from accounts where id = $1',
      [books.account.id],
    );
    expect(await checkpointOf(books.account.id)).toEqual([Number(account!.ledger), Number(account!.events)]);
    const second = await quick();
    expect(second).toMatchObject(CLEAN);
    // The two that are open.
    expect(rowsOf(second, 'I2')).toBe(2);
  });

  it.each(ALL_BREAKS)('names what was spoiled since (%s)', async (_, invariant, { tables, sql, subject }) => {
    const expected = await subject(books);
    const before = await checkpointOf(books.account.id);
    const report = await broken(millrace, { tables, sql: sql(books) }, quick);
    expect(report.ok).toBe(false);
    expect(report.breaches).toContainEqual(expect.objectContaining({ invariant, subject: expected }));
    expect(report.covered.resumed).toBe(report.covered.accounts);
    // What is wrong is not passed over by the next.
    if (report.breaches.some(({ account_id: id }) => id === books.account.id))
      expect(await checkpointOf(books.account.id)).toEqual(before);
    expect(await quick()).toMatchObject(CLEAN);
  });
});

describe('a job from before the checkpoint', () => {
  beforeEach(() => checkpointsAre('late'));

  const lateCapture = ({ id }: { id: string }, job: Json): string =>
    `update accounts set ledger_sequence = ledger_sequence + 1 where id = '${id}';
      insert into ledger_transactions select id, ledger_sequence, 'tx_late', 'capture', '${job.id}', 1, available, null, null, now()
        from accounts where id = '${id}';
      insert into ledger_lines select a.id, ledger_sequence, 0, l.id, 'held', 'captured', 1
        from accounts a join lots l on l.account_id = a.id where a.id = '${id}'`;

  it('is looked at again if an entry names it', async () => {
    const { account, failed } = books;
    const captured = lateCapture(account, failed);
    const tables = ['accounts', 'ledger_transactions', 'ledger_lines'];
    const { breaches } = await broken(millrace, { tables, sql: captured }, quick);
    for (const invariant of ['I2', 'I5'])
      expect(breaches).toContainEqual(expect.objectContaining({ invariant, subject: failed.id }));
  });

  it('is looked at again though an entry of another account named it first', async () => {
    const { account, waiting } = books;
    const sql = `${lateCapture(account, waiting)}; update jobs set hold = hold + 1 where id = '${waiting.id}'`;
    const tables = ['accounts', 'ledger_transactions', 'ledger_lines', 'jobs'];
    const { breaches } = await broken(millrace, { tables, sql }, quick);
    expect(breaches).toContainEqual(expect.objectContaining({ invariant: 'I2', subject: waiting.id }));
  });

  it('is looked at again if an event names it: one that holds nothing has no entry at its end', async () => {
    const { admin } = millrace;
    const lines = ['input', 'output'].map((measure) => ({
      name: 'token',
      measure,
      credits_per_million: '0',
    }));
    await admin.send('PUT', '/v1/admin/models/free/chat', { body: { kind: 'chat' } });
    await admin.post('/v1/admin/prices', { model: 'free/chat', lines });
    const route = { provider: 'sim', upstream_model: 'sim-chat', data: { unknown_fields: 'pass' } };
    await admin.post('/v1/admin/routes', { model: 'free/chat', ...route });
    const client = await millrace.account();
    const { id } = await client.submit({ ...chat('Free', { sim: { fault: 'hang' } }), model: 'free/chat' });
    expect(await whole()).toMatchObject(CLEAN);
    expect((await checkpointOf(client.id))?.[1]).toBeGreaterThan(0);
    await client.post(`/v1/jobs/${id}/cancel`);
    expect(await client.ended(id)).toMatchObject({ status: 'canceled', hold: { credits: 0 } });
    const sql = `update jobs set status = 'expired', canceled_by = null where id = '${id}'`;
    const spoil = { tables: ['jobs'], sql };
    const { breaches } = await broken(millrace, spoil, quick);
    expect(breaches).toEqual([expect.objectContaining({ invariant: 'I4', subject: id })]);
    expect(await quick()).toMatchObject(CLEAN);
    // Now it is old, and taken on trust.
    expect(await broken(millrace, spoil, quick)).toMatchObject(CLEAN);
  });
});

describe('what was spoiled before the checkpoint', () => {
  const [[, amount], [, captured]] = [
    BREAKS['I1']!.entries().toArray()[5]!,
    BREAKS['I5']!.entries().toArray()[2]!,
  ];

  it.each([
    ['I1', amount],
    ['I5', captured],
  ] as const)(
    'is found by the whole audit, and by every later one until it is mended (%s)',
    async (id, kind) => {
      await checkpointsAre('late');
      const expected = { invariant: id, subject: await kind.subject(books) };
      await broken(millrace, { tables: kind.tables, sql: kind.sql(books) }, async () => {
        // By its nature: it looks at what is new.
        expect(await quick()).toMatchObject(CLEAN);
        expect((await whole()).breaches).toContainEqual(expect.objectContaining(expected));
        expect(await checkpointOf(books.account.id)).toEqual([0, 0]);
        expect((await quick()).breaches).toContainEqual(expect.objectContaining(expected));
        const { body } = await millrace.admin.get('/v1/admin/invariants');
        expect(body).toMatchObject({ ok: false });
        expect(body.breaches).toContainEqual(expect.objectContaining(expected));
      });
      const mended = await quick();
      expect(mended).toMatchObject(CLEAN);
      expect(mended.covered.resumed).toBe(mended.covered.accounts - 1);
      expect((await quick()).covered.resumed).toBe(mended.covered.accounts);
    },
  );

  it('shows in balances and lots all the same', async () => {
    await checkpointsAre('late');
    for (const kind of BREAKS['I1']!.slice(0, 5)) {
      const expected = { invariant: 'I1', subject: await kind.subject(books) };
      const { breaches } = await broken(millrace, { tables: kind.tables, sql: kind.sql(books) }, quick);
      expect(breaches).toContainEqual(expect.objectContaining(expected));
    }
  });

  it('shows when all that came after an earlier state is gone, as after a wrong restore', async () => {
    await checkpointsAre('late');
    const id = books.account.id;
    const ahead = `update audit_checkpoints set ledger_sequence = ledger_sequence + 3 where account_id = '${id}'`;
    await broken(millrace, { tables: ['audit_checkpoints'], sql: ahead }, async () => {
      const before = await checkpointOf(id);
      for (const look of [quick, whole, quick])
        expect((await look()).breaches).toEqual([
          {
            invariant: 'I1',
            account_id: id,
            subject: id,
            what: expect.stringContaining('an audit has seen'),
          },
        ]);
      expect(await checkpointOf(id)).toEqual(before);
    });
  });
});

describe('audits beside each other', () => {
  beforeEach(() => checkpointsAre('late'));

  it('do not put back a checkpoint that another took away meanwhile', async () => {
    const { flow } = millrace.platform.ctx;
    const { id } = books.account;
    const { version, ...begun } = (await readCheckpoints(flow, [id])).get(id)!;
    const next = { ...begun, accountId: id, ledgerSequence: 2n, eventSequence: 2n, instead: version };
    await forgetCheckpoints(flow, [id]);
    await saveCheckpoints(flow, [next]);
    expect(await checkpointOf(id)).toEqual([0, 0]);
    await saveCheckpoints(flow, [{ ...next, instead: null }]);
    expect(await checkpointOf(id)).toEqual([0, 0]);
    // On top of what is there now it may.
    const now = (await readCheckpoints(flow, [id])).get(id)!;
    await saveCheckpoints(flow, [{ ...next, instead: now.version }]);
    expect(await checkpointOf(id)).toEqual([2, 2]);
  });

  it('and beside money that moves find everything right, and hand on what is right', async () => {
    const mover = await millrace.account({ plan: 'scale' });
    let working = true;
    const work = (async () => {
      for (let i = 0; i < 12; i++)
        await Promise.all(
          [chat(`${i}`), chat('No', { sim: { fault: 'refusal' } }), chat('Twice')].map((job) =>
            mover.run(job),
          ),
        );
      working = false;
    })();
    let audits = 0;
    while (working) {
      const reports = await Promise.all([
        quick(),
        whole(),
        quick(),
        millrace.admin.get('/v1/admin/invariants'),
      ]);
      for (const report of reports) expect('body' in report ? report.body : report).toMatchObject(CLEAN);
      audits += 1;
    }
    await work;
    expect(audits).toBeGreaterThan(1);
    expect(await quick()).toMatchObject(CLEAN);
    expect(await whole()).toMatchObject(CLEAN);
    const [{ ledger } = { ledger: '' }] = await millrace.sql<{ ledger: string }>(
      'select ledger_sequence as ledger from accounts where id = $1',
      [mover.id],
    );
    expect((await checkpointOf(mover.id))?.[0]).toBe(Number(ledger));
  });
});
