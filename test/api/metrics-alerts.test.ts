// What alarms stand on (deploy/prometheus/alerts.yml): each is told as it is, in the very case that it is there for.
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { KINDS } from '../../src/domain/job.ts';
import { eventually } from '../support/eventually.ts';
import { sample } from '../support/metrics.ts';
import { startPlatform, type TestPlatform } from '../support/platform.ts';

let millrace: TestPlatform;
beforeAll(async () => {
  millrace = await startPlatform({ worker: { queues: ['chat'] }, env: { LEASE_MS: '1500' } });
});
afterAll(() => millrace.stop());

const now = (series: string) => sample(millrace.url, series);

it('tells of each queue how many serve it, also where that is nobody', async () => {
  for (const kind of KINDS)
    expect(await now(`millrace_workers{queue="${kind}"}`), kind).toBe(kind === 'chat' ? 1 : 0);
});

it('tells that a lease was lost', async () => {
  expect(await now('millrace_leases_lost_total')).toBe(0);
  await millrace.sql(`update workers set lease_until = now() - interval '1 minute'`);
  await eventually(async () => (await now('millrace_leases_lost_total')) >= 1, {
    what: 'it is counted',
    withinMs: 20_000,
  });
});

it('tells whether the storage answers', async () => {
  const storage = () => now('millrace_answers{server="storage"}');
  expect(await storage()).toBe(1);
  const folder = join(millrace.dataDir, 'artifacts');
  await rename(folder, `${folder}-away`);
  await writeFile(folder, 'no folder');
  expect(await storage()).toBe(0);
  await rm(folder);
  await rename(`${folder}-away`, folder);
  expect(await storage()).toBe(1);
});

it('tells what the last audit found, which a look at a part that is right does not change', async () => {
  const account = await millrace.account();
  const look = async (after = '') =>
    (await millrace.admin.get(`/v1/admin/invariants${after}`)).body.ok as boolean;
  expect(await now('millrace_audit_age_seconds')).toBeNaN();
  expect(await look()).toBe(true);
  expect(await now('millrace_audit_breaches')).toBe(0);
  expect(await now('millrace_audit_age_seconds')).toBeGreaterThanOrEqual(0);

  await millrace.sql('update accounts set available = available + 1 where id = $1', [account.id]);
  expect(await look()).toBe(false);
  expect(await now('millrace_audit_breaches')).toBeGreaterThan(0);
  // Past every account.
  expect(await look(`?after=acc_${'z'.repeat(26)}`)).toBe(true);
  expect(await now('millrace_audit_breaches')).toBeGreaterThan(0);

  await millrace.sql('update accounts set available = available - 1 where id = $1', [account.id]);
  expect(await look()).toBe(true);
  expect(await now('millrace_audit_breaches')).toBe(0);
});
