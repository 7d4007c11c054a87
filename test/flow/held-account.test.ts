// An account's row that somebody else holds: a psql left open, a process frozen in its transaction.
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { chat } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { startPlatform, type TestPlatform } from '../support/platform.ts';

let millrace: TestPlatform;
beforeAll(async () => {
  millrace = await startPlatform();
});
afterAll(() => millrace.stop());

/** Locks the account's row, until let go of. */
async function hold(accountId: string): Promise<() => Promise<void>> {
  const client = new pg.Client({ connectionString: millrace.env['DATABASE_URL'] as string });
  await client.connect();
  await client.query('begin');
  await client.query('select from accounts where id = $1 for update', [accountId]);
  return () => client.end();
}

it('keeps no other waiting for longer than it takes to notice, and loses nothing of its own', async () => {
  const [held, free] = [await millrace.account(), await millrace.account()];
  const slow = chat('slow', { sim: { latency_ms: 1_000 } });
  const jobs = [await held.submit(slow), await free.submit(slow)];
  await eventually(
    async () => {
      const [row] = await millrace.sql<{ n: string }>(
        `select count(*) as n from jobs where status = 'running'`,
      );
      return Number(row?.n) === jobs.length;
    },
    { what: 'both run', withinMs: 10_000 },
  );
  const letGo = await hold(held.id);
  try {
    let given = false;
    const refused = held.post('/v1/jobs', chat('x')).finally(() => (given = true));
    // In one list with the other's, and in the lists after it.
    expect((await free.post('/v1/jobs', chat('y'))).status).toBe(202);
    expect(await free.ended(jobs[1].id)).toMatchObject({ status: 'succeeded', attempt: 1 });
    expect(await free.run(chat('z'))).toMatchObject({ status: 'succeeded' });
    // All that was done while its own submission still waited, which it does for 12 s.
    expect(given).toBe(false);
    expect((await refused).body.code).toBe('overloaded');
    const [row] = await millrace.sql<{ status: string }>('select status from jobs where id = $1', [
      jobs[0].id,
    ]);
    expect(row).toEqual({ status: 'running' });
  } finally {
    await letGo();
  }
  expect(await held.ended(jobs[0].id)).toMatchObject({ status: 'succeeded', attempt: 1 });
  expect(await held.run(chat('again'))).toMatchObject({ status: 'succeeded', attempt: 1 });
});
