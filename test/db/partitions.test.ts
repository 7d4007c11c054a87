// Partitions are made and dropped beside readers that take their time, and no writer waits for it.
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { rotatePartitions } from '../../src/db/partitions.ts';
import { startPlatform, type TestPlatform } from '../support/platform.ts';

let millrace: TestPlatform;
beforeAll(async () => {
  millrace = await startPlatform({ worker: false });
});
afterAll(() => millrace.stop());

const partitions = async (): Promise<string[]> => {
  const rows = await millrace.sql<{ name: string }>(
    `select inhrelid::regclass::text as name from pg_inherits where inhparent = 'deltas'::regclass order by 1`,
  );
  return rows.map(({ name }) => name);
};

it('a reader that takes its time keeps old partitions from being dropped, and nothing else', async () => {
  const { flow } = millrace.platform.ctx;
  const before = await partitions();
  const reader = new pg.Client({ connectionString: millrace.env['DATABASE_URL']! });
  await reader.connect();
  try {
    await reader.query('begin');
    // As a backup begins: a look at every partition, held to the end.
    await reader.query('lock table deltas, events, idempotency_keys in access share mode');
    await millrace.sql(`update clock set shift = interval '5 days'`);
    // Each has a number of its own: two at once would count the same rows, in the same microsecond.
    let first = 0;
    const insert = (): Promise<unknown> =>
      flow.query(
        `insert into deltas (account_id, job_id, attempt, first, count, deltas, created_at)
          values ('a', 'j', 1, $1, 1, '[{}]', millrace_now())`,
        [first++],
      );
    const left = await rotatePartitions(flow);
    expect(left.map(({ kind }) => kind)).toEqual(['deltas']);
    // Into a partition that was made beside the reader.
    await insert();
    const during = await partitions();
    expect(during).toEqual(expect.arrayContaining(before));
    expect(during.length).toBeGreaterThan(before.length);
    // However often it is tried meanwhile, and by however many.
    await Promise.all([rotatePartitions(flow), rotatePartitions(flow), insert(), insert()]);
    await reader.query('commit');
    expect(await rotatePartitions(flow)).toEqual([]);
    expect((await partitions()).filter((name) => before.includes(name))).toEqual([]);
    const [row] = await millrace.sql('select count(*)::int as n from deltas');
    expect(row).toEqual({ n: 3 });
  } finally {
    await reader.end();
  }
});

it('a partition made later is like those made at first', async () => {
  const shapes = await millrace.sql<{ shape: string }>(
    `select distinct (select string_agg(pg_get_constraintdef(c.oid), ' ' order by pg_get_constraintdef(c.oid)) from pg_constraint c where c.conrelid = i.inhrelid)
        || (select count(*) from pg_inherits x join pg_index d on d.indexrelid = x.inhrelid where d.indrelid = i.inhrelid) as shape
      from pg_inherits i where inhparent = 'events'::regclass`,
  );
  expect(shapes).toEqual([{ shape: expect.stringMatching(/PRIMARY KEY .*2$/) }]);
});
