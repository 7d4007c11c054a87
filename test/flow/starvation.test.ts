// Nobody's work may hold up somebody else's: not a thousand back-offs, not ten thousand jobs past their deadline, not one
// that cannot be ended at all.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Bell } from '../../src/domain/job.ts';
import { openAnnouncer } from '../../src/flow/announce.ts';
import { openSettlement } from '../../src/flow/settle.ts';
import { openSweep, type Sweeper } from '../../src/flow/sweep.ts';
import { transaction } from '../../src/db/transaction.ts';
import { nextInLine } from '../../src/store/line.ts';
import { chat } from '../support/client.ts';
import { noVendor } from '../support/hands.ts';
import { openBroker } from '../support/adversarial-queue.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';

/** An API without a worker; the sweep is done by hand. */
let millrace: TestPlatform;
let sweeper: Sweeper;
const broker = openBroker({ seed: 1, leaseMs: 1_000 });
/** Every bell that was rung. */
const rung: Bell[] = [];
let depth: number | null = null;
let beforeRing: () => Promise<void> = async () => {};

beforeAll(async () => {
  const queue = broker.connect();
  millrace = await startPlatform({
    worker: false,
    openQueue: async () => ({
      ...queue,
      async ring(bells) {
        await beforeRing();
        rung.push(...bells);
        await queue.ring(bells);
      },
      depth: async (kind) => depth ?? queue.depth(kind),
    }),
  });
  const { ctx } = millrace.platform;
  const announcer = openAnnouncer(ctx);
  sweeper = openSweep(ctx, { announcer, settle: openSettlement(ctx, announcer), provider: noVendor });
});
afterAll(() => millrace.stop());

/** An account whose only slot is taken by a job that waits in the queue, with so many jobs behind it. */
async function crowd(jobs: number, slots = 1): Promise<TestAccount> {
  const account = await millrace.account({
    plan: 'scale',
    credits: 2_000_000_000,
    overrides: { slots, line_length: 1_000_000 },
  });
  for (let left = jobs + slots; left > 0; left -= 1_000) {
    const list = Array.from({ length: Math.min(left, 1_000) }, () => chat('x', { max_tokens: 1 }));
    const { status, body } = await account.post('/v1/jobs/batch', { jobs: list });
    expect({ status, refused: body.refused ?? 0 }).toEqual({ status: 200, refused: 0 });
  }
  return account;
}

const count = async (where: string, values: unknown[] = []): Promise<number> =>
  (await millrace.sql<{ n: number }>(`select count(*)::int as n from jobs where ${where}`, values))[0]?.n ??
  0;

/** Its only job goes back to the line, in a back-off that has just run out. */
async function backOff(account: TestAccount): Promise<void> {
  await account.submit(chat('small'));
  await millrace.sql(
    `update jobs set slot = null, place = sequence, rung_at = null, due_at = clock_timestamp() where account_id = $1`,
    [account.id],
  );
  await millrace.sql(`update accounts set busy_slots = '', line_waiting = 1 where id = $1`, [account.id]);
}

describe('the sweep', () => {
  it("gives an account its slot though a thousand of another's back-offs ran out before", async () => {
    const big = await crowd(1_200);
    await millrace.sql(
      `update jobs set due_at = clock_timestamp() - interval '1 minute' where account_id = $1 and place is not null`,
      [big.id],
    );
    const small = await millrace.account();
    await backOff(small);
    let passes = 1;
    while (await sweeper.pass()) passes += 1;
    expect(await count('account_id = $1 and slot is not null', [small.id])).toBe(1);
    expect(await count('due_at is not null')).toBe(0);
    expect(passes).toBe(3);
    expect(await sweeper.pass()).toBe(false);
  });

  it('finds the next in line behind five thousand in back-off without looking at them', async () => {
    const account = await crowd(1);
    await millrace.sql(
      `insert into jobs select copy.* from jobs t, generate_series(1, 5000) n,
        jsonb_populate_record(null::jobs, to_jsonb(t) || jsonb_build_object('id', 'job_copy_' || n, 'sequence', n - 100000,
          'place', n - 100000, 'due_at', clock_timestamp() + interval '1 hour')) copy
        where t.account_id = $1 and t.place is not null`,
      [account.id],
    );
    await millrace.sql('analyze jobs');
    const { ctx } = millrace.platform;
    const { next, fetched } = await transaction(ctx.flow, async (tx) => {
      const read = async (): Promise<number> => {
        const { rows } = await tx.query<{ n: number }>(
          `select (seq_tup_read + idx_tup_fetch)::int as n from pg_stat_xact_user_tables where relname = 'jobs'`,
        );
        return rows[0]?.n ?? 0;
      };
      const before = await read();
      const next = await nextInLine(tx, [{ accountId: account.id, free: 5 }]);
      return { next, fetched: (await read()) - before };
    });
    expect(next.filter(({ slot }) => slot === null)).toHaveLength(1);
    // The one in the line, and the one with a slot that may have waited for a second.
    expect(fetched).toBeLessThanOrEqual(2);
    await millrace.sql(`delete from jobs where id like 'job_copy_%'`);
  });

  it("ends what is past its deadline in short lists, one after the other, another's among a thousand", async () => {
    const [big, small] = [await crowd(1_200), await crowd(1)];
    for (const { id } of [big, small])
      await millrace.sql(
        `update jobs set deadline = clock_timestamp() where account_id = $1 and place is not null`,
        [id],
      );
    let passes = 1;
    while (await sweeper.pass()) passes += 1;
    expect(passes).toBe(3);
    expect(await count(`place is not null and deadline <= clock_timestamp()`)).toBe(0);
    expect(await count(`status = 'expired' and account_id = $1`, [small.id])).toBe(1);
  });

  it('ends the others though one cannot be ended', async () => {
    const account = await crowd(30);
    const [poison] = await millrace.sql<{ id: string }>(
      `update jobs set deadline = clock_timestamp() where account_id = $1 and place is not null returning id`,
      [account.id],
    );
    await millrace.sql(
      `alter table jobs add constraint poison check (id <> '${poison?.id}' or status <> 'expired')`,
    );
    await sweeper.pass();
    expect(await count(`account_id = $1 and status = 'expired'`, [account.id])).toBe(29);
    await millrace.sql(`alter table jobs drop constraint poison`);
    await sweeper.pass();
    expect(await count(`account_id = $1 and status = 'expired'`, [account.id])).toBe(30);
  });

  it('takes back the jobs of a lost worker though what one of them had said cannot be counted', async () => {
    const account = await crowd(0, 3);
    await millrace.sql(
      `update jobs set status = 'running', worker_id = 'wkr_gone', epoch = 1 where account_id = $1`,
      [account.id],
    );
    await millrace.sql(
      `update jobs set input = null, input_key = 'gone' where account_id = $1 and slot = 1`,
      [account.id],
    );
    await millrace.sql(
      `insert into attempts (account_id, job_id, attempt, worker_id, route_id, slot, started_at)
        select account_id, id, 1, worker_id, route_id, slot, clock_timestamp() from jobs where account_id = $1`,
      [account.id],
    );
    // None is taken back within one lease of PostgreSQL's start, which a test run may be.
    await vi.waitUntil(async () => (await sweeper.pass(), await count(`worker_id = 'wkr_gone'`)) === 0, {
      timeout: 20_000,
    });
    expect(await count(`account_id = $1 and status = 'queued' and interruptions = 1`, [account.id])).toBe(3);
  });
});

describe('a queue that says it holds nothing', () => {
  it('is rung once a pass for each job that waits, however slowly it takes them', async () => {
    const account = await crowd(0, 1_100);
    await millrace.sql(`update jobs set rung_at = rung_at - interval '10 seconds' where slot is not null`);
    const before = await count(`slot is not null and status = 'queued'`);
    rung.length = 0;
    depth = 0;
    // By the time the last page is rung, the first was rung more than a second ago.
    beforeRing = () => sleep(600);
    await sweeper.pass();
    beforeRing = async () => {};
    depth = null;
    expect(rung.filter((bell) => bell.accountId === account.id)).toHaveLength(1_100);
    expect(rung).toHaveLength(before);
  });

  it('is told of a job under another name once it was rung in vain for long', async () => {
    const account = await crowd(0);
    rung.length = 0;
    for (const rings of [1, 2]) {
      await millrace.sql(
        `update jobs set rings = $2, rung_at = rung_at - interval '1 hour' where account_id = $1`,
        [account.id, rings],
      );
      await sweeper.pass();
    }
    const own = rung.filter((bell) => bell.accountId === account.id);
    expect(own.map((bell) => bell.repeat)).toEqual([undefined, 'late']);
  });
});

describe('slots', () => {
  it('let who waits in the queue with a high number move down before who comes later', async () => {
    const account = await crowd(3, 4);
    const inOrder = await millrace.sql<{ id: string }>(
      `select id from jobs where account_id = $1 order by sequence`,
      [account.id],
    );
    const ids = inOrder.map(({ id }) => id);
    // Long enough ago that whoever holds one was not simply about to be heard.
    await millrace.sql(
      `update jobs set rung_at = rung_at - interval '3 seconds' where account_id = $1 and slot is not null`,
      [account.id],
    );
    rung.length = 0;
    await account.post(`/v1/jobs/${ids[0]}/cancel`);
    const slots = await millrace.sql<{ id: string; slot: number }>(
      `select id, slot from jobs where account_id = $1 and slot is not null order by slot`,
      [account.id],
    );
    // The second took the number of the first, and the fifth that of the second.
    expect(slots.map(({ id }) => id)).toEqual([ids[1], ids[4], ids[2], ids[3]]);
    await vi.waitUntil(() => rung.length === 2);
    expect(rung).toMatchObject([
      { jobId: ids[1], slot: 1, repeat: 'moved' },
      { jobId: ids[4], slot: 2 },
    ]);
    const { body } = await millrace.admin.get('/v1/admin/invariants');
    expect(
      body.breaches.filter((breach: { account_id: string }) => breach.account_id === account.id),
    ).toEqual([]);
  });
});
