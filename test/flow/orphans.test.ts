// Bytes that nobody names: they are gone within a day, not much sooner, and the audit names what is not.
import { mkdir, readdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { newId } from '../../src/domain/ids.ts';
import { audit } from '../../src/flow/audit.ts';
import { removeOrphans } from '../../src/flow/remove-orphans.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';

let millrace: TestPlatform;
let account: TestAccount;
beforeAll(async () => {
  millrace = await startPlatform({ worker: false });
  account = await millrace.account();
});
afterAll(() => millrace.stop());
beforeEach(async () => {
  // It is done once an hour, by whoever comes first.
  await millrace.sql(`delete from settings where name in ('remove_orphans_at', 'remove_orphans_done')`);
});

/** As if nothing had swept since. */
const sweptHoursAgo = (hours: number) =>
  millrace.sql(
    `insert into settings select 'remove_orphans_done', (millrace_now() - make_interval(hours => $1))::text
    on conflict (name) do update set value = excluded.value`,
    [hours],
  );

const folder = (...names: string[]) => join(millrace.dataDir, 'artifacts', ...names);

async function leave(path: string, hours: number): Promise<void> {
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, 'left behind');
  const at = Date.now() / 1000 - hours * 3_600;
  await utimes(path, at, at);
}

it('are removed once they are nearly a day old', async () => {
  const [young, old, foreign] = [newId('art'), newId('art'), newId('art')];
  const stranger = newId('acc');
  await leave(folder('objects', account.id, young), 21);
  await leave(folder('objects', account.id, old), 23);
  await leave(folder('objects', account.id, `in_${newId('job')}`), 23);
  // Of a database that shares the folder.
  await leave(folder('objects', stranger, foreign), 1_000);
  expect(await removeOrphans(millrace.platform.ctx)).toBe(2);
  expect(await readdir(folder('objects', account.id))).toEqual([young]);
  expect(await readdir(folder('objects', stranger))).toEqual([foreign]);
});

it('are removed where a process died while it wrote, and not where one still writes', async () => {
  await leave(folder('drafts', 'dead'), 23);
  await leave(folder('drafts', 'alive'), 21);
  // Who only looks removes nothing.
  await audit(millrace.platform.ctx);
  expect((await readdir(folder('drafts'))).toSorted()).toEqual(['alive', 'dead']);
  await removeOrphans(millrace.platform.ctx);
  expect(await readdir(folder('drafts'))).toEqual(['alive']);
});

it('are not held against an installation that was stopped when it should have removed them', async () => {
  const { ctx } = millrace.platform;
  const id = newId('art');
  await leave(folder('objects', account.id, id), 70);
  // One that was stopped before it ever removed any, or in the middle of the first time.
  expect(await audit(ctx)).toMatchObject({ ok: true, covered: { unnamedAsOf: null } });
  await sweptHoursAgo(60);
  const report = await audit(ctx);
  expect(report).toMatchObject({ ok: true, breaches: [] });
  expect((report.checkedAt.getTime() - report.covered.unnamedAsOf!.getTime()) / 3_600_000).toBeCloseTo(60, 1);
  // What was there to be removed when it was last done is another matter.
  await leave(folder('objects', account.id, id), 85);
  expect((await audit(ctx)).breaches).toMatchObject([{ invariant: 'I10', subject: `${account.id}/${id}` }]);
  expect(await removeOrphans(ctx)).toBe(1);
  const after = await audit(ctx);
  expect(after.checkedAt.getTime() - after.covered.unnamedAsOf!.getTime()).toBeLessThan(60_000);
});

it('are named by the audit when they are older than a day', async () => {
  const { ctx } = millrace.platform;
  await sweptHoursAgo(0);
  const [id, kept] = [newId('art'), newId('art')];
  const breach = {
    invariant: 'I10',
    account_id: account.id,
    subject: `${account.id}/${id}`,
    what: expect.any(String),
  };
  await leave(folder('objects', account.id, id), 23);
  expect(await audit(ctx)).toMatchObject({ ok: true, breaches: [] });
  await leave(folder('objects', account.id, id), 25);
  expect((await audit(ctx)).breaches).toEqual([breach]);
  // An artifact of long ago that is being deleted just now.
  await ctx.storage.put(`${account.id}/${kept}`, Buffer.from('x'));
  await leave(folder('objects', account.id, kept), 1_000);
  await millrace.sql(
    `insert into artifacts (id, account_id, direction, content_type, bytes, sha256, storage_key, deleted_at)
      values ($1, $2, 'input', 'text/plain', 1, 'x', $3, millrace_now())`,
    [kept, account.id, `${account.id}/${kept}`],
  );
  expect((await audit(ctx)).breaches).toEqual([breach]);
  await millrace.sql(`update artifacts set deleted_at = millrace_now() - interval '25 hours' where id = $1`, [
    kept,
  ]);
  expect((await audit(ctx)).breaches).toHaveLength(2);
  expect(await removeOrphans(ctx)).toBe(2);
  expect(await audit(ctx)).toMatchObject({ ok: true, breaches: [] });
});
