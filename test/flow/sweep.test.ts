// Who sweeps, and what is found that nothing else would find.
import { existsSync } from 'node:fs';
import { mkdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { newId } from '../../src/domain/ids.ts';
import { openAnnouncer } from '../../src/flow/announce.ts';
import { openSettlement } from '../../src/flow/settle.ts';
import { openSweep, type Sweeper } from '../../src/flow/sweep.ts';
import { chat } from '../support/client.ts';
import { startPlatform, type TestPlatform } from '../support/platform.ts';

let millrace: TestPlatform;
beforeEach(async () => {
  millrace = await startPlatform({ worker: false, env: { SWEEP_MS: '60000' } });
});
afterEach(() => millrace.stop());

function sweeper(): Sweeper {
  const { ctx } = millrace.platform;
  const announcer = openAnnouncer(ctx);
  return openSweep(ctx, { announcer, settle: openSettlement(ctx, announcer) });
}

const HOURS = 3_600_000;

it('one sweeps until it leaves or is gone, and then another does', async () => {
  const account = await millrace.account({ overrides: { slots: 1, line_length: 5 } });
  const ids: string[] = [];
  for (let i = 0; i < 4; i++) ids.push((await account.submit({ ...chat(), expires_in: 60 * (i + 1) })).id);
  const expired = async (): Promise<number> => {
    const [row] = await millrace.sql<{ n: number }>(
      `select count(*)::int as n from jobs where status = 'expired'`,
    );
    return row!.n;
  };
  const due = (minutes: number) =>
    millrace.sql(`update clock set shift = make_interval(mins => $1, secs => 5)`, [minutes]);
  const [first, second] = [sweeper(), sweeper()];
  await first.pass();
  await due(1);
  await second.pass();
  expect(await expired()).toBe(0);
  await first.pass();
  expect(await expired()).toBe(1);
  await first.leave();
  await due(2);
  await second.pass();
  expect(await expired()).toBe(2);
  await due(3);
  await first.pass();
  expect(await expired()).toBe(2);
  // As if the second had been killed, its lease over.
  await millrace.sql(
    `update settings set value = split_part(value, ' ', 1) || ' ' || now() - interval '1 second' where name = 'sweeper'`,
  );
  await first.pass();
  expect(await expired()).toBe(3);
  // As if the server's clock had been set back: a lease that far ahead is nobody's.
  await millrace.sql(`update settings set value = 'x ' || now() + interval '1 day' where name = 'sweeper'`);
  await due(4);
  await second.pass();
  expect(await expired()).toBe(4);
});

it('slots that nobody refilled are given to those who wait', async () => {
  const account = await millrace.account({ overrides: { slots: 1, line_length: 5 } });
  for (let i = 0; i < 3; i++) await account.submit(chat());
  await millrace.sql(`update accounts set overrides = overrides || '{"slots": 2}' where id = $1`, [
    account.id,
  ]);
  await sweeper().pass();
  const slots = await millrace.sql('select slot from jobs where account_id = $1 order by id', [account.id]);
  expect(slots).toEqual([{ slot: 1 }, { slot: 2 }, { slot: null }]);
});

it("an account's change and the refill that follows from it are one", async () => {
  const account = await millrace.account({ overrides: { slots: 1, line_length: 5 } });
  await account.submit(chat());
  const { id: waiting } = await account.submit(chat());
  const other = new pg.Client({ connectionString: millrace.env['DATABASE_URL']! });
  await other.connect();
  try {
    await other.query('begin');
    await other.query('select from jobs where id = $1 for update', [waiting]);
    const patched = millrace.admin.send('PATCH', `/v1/admin/accounts/${account.id}`, {
      body: { overrides: { slots: 2, line_length: 5 }, reason: 'test' },
    });
    const state = () =>
      millrace.sql<{ slots: string; waits: boolean }>(
        `select a.overrides ->> 'slots' as slots, exists (select from pg_stat_activity where wait_event_type = 'Lock'
          and usename is not null and datname = current_database()) as waits from accounts a where id = $1`,
        [account.id],
      );
    while (!(await state())[0]!.waits) await sleep(10);
    expect((await state())[0]!.slots).toBe('1');
    await other.query('commit');
    expect((await patched).status).toBe(200);
    expect((await state())[0]!.slots).toBe('2');
  } finally {
    await other.end();
  }
  expect(await millrace.sql('select slot from jobs where id = $1', [waiting])).toEqual([{ slot: 2 }]);
  const log = await millrace.sql(`select reason from audit_log where action = 'account.change'`);
  expect(log).toEqual([{ reason: 'test' }]);
});

it('bytes that no row names are removed once they are a day old, and no others', async () => {
  const { storage } = millrace.platform.ctx;
  const root = join(millrace.dataDir, 'artifacts');
  const account = await millrace.account();
  const { id: jobId } = await account.submit(chat('x'.repeat(300_000)));
  const [job] = await millrace.sql<{ input_key: string }>('select input_key from jobs where id = $1', [
    jobId,
  ]);
  const kept = newId('art');
  const gone = newId('art');
  await millrace.sql(
    `insert into artifacts (id, account_id, direction, content_type, bytes, sha256, storage_key, deleted_at)
      select id, $1, 'input', 'text/plain', 1, 'x', $1 || '/' || id, at from (values ($2, null), ($3, now())) as t (id, at)`,
    [account.id, kept, gone],
  );
  const put = async (key: string, hours: number): Promise<string> => {
    await storage.put(key, Buffer.from('x'));
    const at = new Date(Date.now() - hours * HOURS);
    await utimes(join(root, 'objects', key), at, at);
    return key;
  };
  const stay = [
    await put(job!.input_key, 48),
    await put(`${account.id}/${kept}`, 48),
    await put(`${account.id}/${newId('art')}`, 23),
    // Of another database that kept its bytes in this folder.
    await put(`${newId('acc')}/${newId('art')}`, 48),
  ];
  const go = [
    await put(`${account.id}/${newId('art')}`, 25),
    await put(`${account.id}/in_${newId('job')}`, 25),
    await put(`${account.id}/${gone}`, 25),
  ];
  await mkdir(join(root, 'drafts'), { recursive: true });
  const draft = join(root, 'drafts', 'cut-off');
  await writeFile(draft, 'half');
  await utimes(draft, new Date(0), new Date(0));
  await sweeper().pass();
  const there = (key: string): boolean => existsSync(join(root, 'objects', key));
  expect(stay.filter(there)).toEqual(stay);
  expect(go.filter(there)).toEqual([]);
  expect(existsSync(draft)).toBe(false);
});

it('the audit names a hold that no job has', async () => {
  const account = await millrace.account();
  const { id } = await account.submit(chat());
  await millrace.sql(`update ledger_transactions set job_id = 'job_ghost' where job_id = $1`, [id]);
  const { body } = await millrace.admin.get('/v1/admin/invariants');
  const subjects = body.breaches.filter(({ invariant }: { invariant: string }) => invariant === 'I2');
  expect(subjects.map(({ subject }: { subject: string }) => subject).toSorted()).toEqual(
    [id, 'job_ghost'].toSorted(),
  );
});
