// What reads cost does not grow with what lies finished beside it: nothing but what can match is looked at.
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Db } from '../../src/db/pool.ts';
import { readAs } from '../../src/db/transaction.ts';
import { idFloor } from '../../src/domain/ids.ts';
import { findPage, type JobFilter } from '../../src/flow/list.ts';
import { openJobs } from '../../src/store/jobs.ts';
import { chat, type Json } from '../support/client.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';

const FINISHED = 20_000;

let millrace: TestPlatform;
let account: TestAccount;
beforeAll(async () => {
  millrace = await startPlatform({ worker: false });
  account = await millrace.account({ overrides: { slots: 2, line_length: 10 } });
  for (let i = 0; i < 5; i++)
    await account.submit({ ...chat(`${i}`), metadata: { n: `${i}` } }, { 'idempotency-key': `key-${i}` });
  // Newer than those that wait, as if they had ended meanwhile: a walk by id comes by all of them. One a second.
  await millrace.sql(
    `insert into jobs (account_id, id, key_id, livemode, kind, model, route_id, status, priority, sequence, deadline, deadline_named,
        hold, cost, price_id, bounds, metadata, created_at, ended_at)
      select account_id, 'job_z' || lpad(n::text, 25, '0'), key_id, livemode, kind, model, route_id, 'failed', 1, 100 + n, deadline,
        false, 0, 0, price_id, bounds, metadata, created_at, created_at from (select * from jobs limit 1) j, generate_series(1, $1) n`,
    [FINISHED],
  );
  await millrace.sql('analyze jobs');
});
afterAll(() => millrace.stop());

/** How many rows of tables the query looks at, found or thrown away. */
async function looked(query: (db: Db) => Promise<unknown>): Promise<number> {
  let rows = 0;
  const count = (node: Json): void => {
    if (node['Relation Name'] !== undefined)
      rows += (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops'];
    for (const child of node.Plans ?? []) count(child);
  };
  await readAs(millrace.platform.ctx.client, account.id, async (tx) => {
    const explaining = {
      async query(query: string | { text: string; values: unknown[] }, values?: unknown[]) {
        const text = typeof query === 'string' ? query : query.text;
        const all = typeof query === 'string' ? values : query.values;
        const { rows } = await tx.query(`explain (analyze, format json) ${text}`, all);
        count(rows[0]['QUERY PLAN'][0].Plan);
        return tx.query(text, all);
      },
    };
    await query(explaining as Db);
  });
  return rows;
}

describe('among many jobs that ended, a look for', () => {
  const filters: [JobFilter, number][] = [
    [{ status: 'queued' }, 5],
    [{ status: 'running' }, 0],
    [{ status: 'queued', kind: 'chat', order: 'asc', 'metadata[n]': '2' }, 1],
    [{ idempotency_key: 'key-3' }, 1],
    [{ idempotency_key: 'nobody' }, 0],
    [{ created_before: '2020-01-01T00:00:00Z' }, 0],
    [{ created_before: '1969-01-01T00:00:00Z', status: 'queued' }, 0],
    [{ created_after: '2200-01-01T00:00:00Z', order: 'asc', status: 'queued' }, 0],
  ];
  it.each(filters)('%j takes only what can match', async (filter, found) => {
    const rows = await looked(async (db) => {
      const { rows: jobs } = await findPage(db, account.id, filter);
      expect(jobs).toHaveLength(found);
    });
    expect(rows).toBeLessThan(50);
  });

  it('what is open takes only that, newest first', async () => {
    const { body } = await account.get('/v1/jobs?status=queued');
    const rows = await looked(async (db) => {
      const open = await openJobs(db, account.id, 100);
      expect(open.map(({ id }) => id)).toEqual(body.data.map(({ id }: Json) => id));
      expect(open).toHaveLength(5);
    });
    expect(rows).toBeLessThan(50);
  });
});

it('a job is found by when it was made, though the clock of its id is not the one of its row', async () => {
  const [job] = await millrace.sql<{ id: string; created_at: Date }>(
    `select id, created_at from jobs where status = 'queued' order by id limit 1`,
  );
  const at = job!.created_at.getTime();
  for (const skew of [-50 * 60_000, 0, 50 * 60_000]) {
    const id = idFloor('job', new Date(at + skew));
    await millrace.sql(
      'update jobs set id = $2 where account_id = $1 and sequence = (select min(sequence) from jobs)',
      [account.id, id],
    );
    const near = (ms: number): string => new Date(at + ms).toISOString();
    const { body } = await account.get(
      `/v1/jobs?order=asc&created_after=${near(-1)}&created_before=${near(1)}&status=queued`,
    );
    expect(body.data.map(({ id }: Json) => id)).toContain(id);
    await millrace.sql('update jobs set id = $2 where account_id = $1 and id = $3', [
      account.id,
      job!.id,
      id,
    ]);
  }
});

it('a filter that would take too long is refused by its name, and the others are served', async () => {
  // Instead of millions of jobs: a statement that gets nowhere, and is cut off as one that takes long.
  const owner = new pg.Client({ connectionString: millrace.env['DATABASE_URL']! });
  await owner.connect();
  await owner.query('begin; lock table jobs in access exclusive mode');
  const { status, body } = await account
    .get('/v1/jobs?metadata[order]=17&kind=chat')
    .finally(() => owner.end());
  expect(status).toBe(400);
  expect(body).toMatchObject({ code: 'invalid_request', retryable: false });
  expect(body.message).toContain('metadata[order]');
  expect(body.details.issues.map(({ path }: Json) => path)).toEqual(['metadata[order]', 'kind']);
  expect((await account.get('/v1/jobs?limit=1')).status).toBe(200);
});
