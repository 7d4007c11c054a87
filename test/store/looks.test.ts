// What streams are read from: each delta is there once however often its step is written, and a look sees its own account only.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { START } from '../../src/domain/cursor.ts';
import { openDeltaLog, recordDeltas } from '../../src/flow/record-deltas.ts';
import { appendDeltas, deltasOf } from '../../src/store/deltas.ts';
import { lookAtEvents, lookAtJob } from '../../src/store/looks.ts';
import { chat } from '../support/client.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';

let millrace: TestPlatform;
let account: TestAccount;
beforeAll(async () => {
  millrace = await startPlatform();
  account = await millrace.account();
});
afterAll(() => millrace.stop());

/** A job whose provider has taken it and says nothing. */
async function silentJob(): Promise<{ accountId: string; jobId: string; attempt: number }> {
  const { id } = await account.submit(chat('x', { sim: { fault: 'hang' } }));
  await account.events(`/v1/jobs/${id}/events`, { until: ({ event }) => event === 'job.running' });
  return { accountId: account.id, jobId: id, attempt: 1 };
}

describe('deltas', () => {
  it('are there once, however often and by how many at once a step is written', async () => {
    const { flow } = millrace.platform.ctx;
    const job = await silentJob();
    const step = { ...job, first: 0, count: 2, deltasJson: '[{"content":"a"},{"content":"b"}]' };
    const next = { ...job, first: 2, count: 1, deltasJson: '[{"content":"c"}]' };
    await Promise.all(Array.from({ length: 8 }, () => appendDeltas(flow, [step, next])));
    await appendDeltas(flow, [next]);
    const kept = [
      { first: 0, count: 2, deltasJson: step.deltasJson },
      { first: 2, count: 1, deltasJson: next.deltasJson },
    ];
    expect(await deltasOf(flow, job)).toEqual(kept);
    for (const [offset, runs] of [
      [0, kept],
      [1, kept],
      [2, kept.slice(1)],
      [3, []],
    ] as const) {
      const cursor = { sequence: 0n, attempt: 1, offset };
      const look = await lookAtJob(millrace.platform.ctx.client, { ...job, cursor });
      expect(look?.deltas).toEqual(runs);
    }
    await account.post(`/v1/jobs/${job.jobId}/cancel`);
  });

  it('of another attempt, or after the end, are dropped', async () => {
    const { flow } = millrace.platform.ctx;
    const job = await silentJob();
    const late = { ...job, first: 0, count: 1, deltasJson: '[{}]' };
    await appendDeltas(flow, [{ ...late, attempt: 2 }]);
    expect(await deltasOf(flow, { ...job, attempt: 2 })).toEqual([]);
    await account.post(`/v1/jobs/${job.jobId}/cancel`);
    await account.ended(job.jobId);
    await appendDeltas(flow, [late]);
    expect(await deltasOf(flow, job)).toEqual([]);
  });

  it('are cut in steps that a reader can take one at a time', async () => {
    const { ctx } = millrace.platform;
    const job = await silentJob();
    const recorder = recordDeltas(
      openDeltaLog(ctx, { ring() {}, deliver() {}, wake() {}, async quiet() {} }),
      job,
    );
    const long = JSON.stringify({ content: 'x'.repeat(200_000) });
    const deltas = [
      ...Array.from({ length: 5_000 }, (_, i) => `{"content":"${i} ${'y'.repeat(90)}"}`),
      long,
      '{}',
    ];
    for (const delta of deltas) recorder.add(delta);
    await recorder.flushed();
    const runs = await deltasOf(ctx.flow, job);
    expect(runs.flatMap(({ deltasJson }) => JSON.parse(deltasJson))).toEqual(
      deltas.map((json) => JSON.parse(json)),
    );
    for (const { count, deltasJson } of runs) expect(count === 1 || deltasJson.length < 80_000).toBe(true);
    let offset = 0;
    for (const { first, count } of runs) {
      expect(first).toBe(offset);
      offset += count;
    }
    await account.post(`/v1/jobs/${job.jobId}/cancel`);
  });

  it('that could not be stored end the recording: nothing comes to stand in their place', async () => {
    const stored: number[][] = [];
    const recorder = recordDeltas(
      async ({ first, count }) => {
        if (first === 1) throw new Error('the disk is full');
        stored.push([first, count]);
      },
      { accountId: 'a', jobId: 'j', attempt: 1 },
    );
    recorder.add('{"n":0}');
    recorder.add('{"n":1}');
    await expect(recorder.flushed()).rejects.toThrow('the disk is full');
    recorder.add('{"n":2}');
    await expect(recorder.flushed()).rejects.toThrow('the disk is full');
    expect(stored).toEqual([[0, 1]]);
  });
});

describe('a look', () => {
  it("sees its own account's rows, as a role that sees no others, and leaves no trace", async () => {
    const { client } = millrace.platform.ctx;
    const other = await millrace.account();
    const { id: jobId } = await account.run(chat('mine'));
    const mine = await lookAtJob(client, { accountId: account.id, jobId, cursor: START });
    expect(mine).toMatchObject({ status: 'succeeded', epoch: 1, position: null });
    expect(mine?.events.map(({ type }) => type)).toEqual(['job.queued', 'job.succeeded']);
    expect(await lookAtJob(client, { accountId: other.id, jobId, cursor: START })).toBeNull();
    const { events } = await lookAtEvents(client, { accountId: other.id, after: 0n });
    expect(events.map(({ type }) => type)).toEqual(['credits.granted']);

    const session = await client.connect();
    try {
      await session.query('select * from look_at_events($1, 0, 10, 1000)', [account.id]);
      const { rows } = await session.query(
        `select current_user as role, current_setting('millrace.account_id', true) as account, (select count(*)::int from jobs) as jobs`,
      );
      expect(rows).toEqual([{ role: 'millrace_client', account: '', jobs: 0 }]);
    } finally {
      session.release();
    }
  });

  it('takes no more than it was asked to, and says so', async () => {
    const { client } = millrace.platform.ctx;
    const own = await millrace.account();
    await millrace.sql(
      `insert into events select $1, n, 'ev_' || n, 'test.filler', null, repeat('x', 20000), now() from generate_series(2, 60) n`,
      [own.id],
    );
    const sizes: [number, boolean][] = [];
    let after = 0n;
    for (let more = true; more;) {
      const look = await lookAtEvents(client, { accountId: own.id, after });
      sizes.push([look.events.length, look.more]);
      after = look.events.at(-1)?.sequence ?? after;
      more = look.more;
    }
    expect(after).toBe(60n);
    expect(sizes.length).toBeGreaterThan(3);
    for (const [count] of sizes) expect(count).toBeLessThanOrEqual(16);
  });
});
