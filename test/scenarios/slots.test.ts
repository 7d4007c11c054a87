// A slot is the right to one call at a time. Whatever dies, leaves, is canceled or forgotten, the simulator's log never shows
// two calls open in one slot; only a process that was frozen may still hold its call, once a freeze, when the next begins.
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { makeAccount, type TestAccount } from '../support/accounts.ts';
import { chat } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { type Fleet, startFleet } from '../support/fleet.ts';
import { type Ground, openGround } from '../support/ground.ts';
import { type Load, startLoad } from '../support/load.ts';
import { peaks, slotOverlaps } from '../support/overlaps.ts';
import { BACKENDS } from '../support/platform.ts';
import { whileCallsAreOpen } from '../support/reruns.ts';
import { openCalls, simCalls } from '../support/sim-log.ts';
import { calm, judge } from '../support/verdict.ts';

vi.setConfig({ testTimeout: 300_000, hookTimeout: 60_000 });

const SLOTS = 8;
const JOBS = 500;
/** So many more, when fewer are left. */
const MORE = 150;
const FREEZES = 2;

describe.each(BACKENDS)('on %s', (backend) => {
  let ground: Ground;
  let fleet: Fleet;
  let accounts: TestAccount[];
  let load: Load;

  beforeAll(async () => {
    ground = await openGround(backend, {
      env: { LEASE_MS: '2000', SWEEP_MS: '500', DRAIN_SECONDS: '1' },
    });
    fleet = await startFleet(ground.installation, { workers: 4, concurrency: 10 });
    accounts = await Promise.all(
      [1, 2].map(() => makeAccount(fleet.url, fleet.admin, { overrides: { slots: SLOTS } })),
    );
    const job = (n: number) =>
      chat(`job ${n}`, {
        stream: n % 3 === 0,
        max_tokens: 50,
        sim: { latency_ms: n % 20 === 0 ? 2_000 : 200 },
      });
    load = startLoad({ clients: accounts, pauseMs: 1_000, job });
  });
  afterAll(async () => {
    await load?.stop();
    await fleet?.stop();
    await ground?.stop();
  });

  /** Asks for the end of so many jobs in that state; some will have ended by then. Answers how many were asked. */
  async function cancel(status: string, count: number): Promise<number> {
    const rows = await ground.installation.sql<{ id: string; account: string }>(
      'select id, account_id as account from jobs where status = $1 order by random() limit $2',
      [status, count],
    );
    const answers = await Promise.all(
      rows.map(({ id, account }) =>
        accounts.find((one) => one.id === account)?.post(`/v1/jobs/${id}/cancel`),
      ),
    );
    return answers.filter((answer) => answer?.status === 200 || answer?.status === 202).length;
  }

  it(`${JOBS} jobs, four workers, kills, cancels, drains and a wiped queue: one call a slot`, async () => {
    await load.burst(JOBS);
    const busy = async () => {
      // On a slow machine a step takes longer than all of the jobs.
      const [line] = await ground.installation.sql<{ waiting: number }>(
        'select sum(line_waiting)::integer as waiting from accounts',
      );
      if ((line?.waiting ?? 0) < MORE) await load.burst(MORE);
      await whileCallsAreOpen(ground.simUrl, SLOTS);
    };
    await busy();
    await fleet.killWorker();
    expect(await cancel('running', 6)).toBeGreaterThan(0);
    expect(await cancel('queued', 10)).toBeGreaterThan(0);
    await busy();
    expect(await fleet.drainWorker()).toBe(0);
    await ground.wipeQueue();
    await busy();
    await Promise.all([fleet.killWorker(), cancel('running', 6)]);
    await load.stop();
    await calm(ground.installation, { withinMs: 120_000 });

    const calls = await simCalls(ground.simUrl);
    expect(calls.length).toBeGreaterThan(JOBS);
    expect(await slotOverlaps(ground.installation, calls)).toEqual([]);
    const most = peaks(calls);
    expect([...most.keys()].toSorted()).toEqual(accounts.map(({ id }) => id).toSorted());
    // All slots were in use, and never more than those.
    expect([...most.values()]).toEqual([SLOTS, SLOTS]);
  });

  it('a frozen worker keeps its call open beside the next one at most once a freeze, and its answer is void', async () => {
    const [account] = accounts as [TestAccount];
    for (let i = 0; i < FREEZES; i++) {
      const hangs = chat('frozen', { stream: false, sim: { fault: 'hang', times: 1 } });
      const { id } = await account.submit(hangs);
      await whileCallsAreOpen(ground.simUrl, 1);
      const [holder] = await ground.installation.sql<{ pid: number }>(
        'select w.pid from workers w join jobs j on j.worker_id = w.id where j.id = $1',
        [id],
      );
      const frozen = fleet.workers.find(({ pid }) => pid === holder?.pid);
      frozen?.signal('SIGSTOP');
      try {
        expect(await account.ended(id as string)).toMatchObject({ status: 'succeeded', attempt: 2 });
      } finally {
        frozen?.signal('SIGCONT');
      }
      await eventually(async () => (await openCalls(ground.simUrl)).length === 0, {
        what: 'the thawed worker ends its call',
        withinMs: 60_000,
      });
    }
    const overlaps = await slotOverlaps(ground.installation, await simCalls(ground.simUrl));
    expect(overlaps.length).toBeLessThanOrEqual(FREEZES);
    // And that such a thing would have been seen.
    expect(overlaps.length).toBeGreaterThan(0);
  });

  it('the books are right', async () => {
    const verdict = await judge(ground.installation, load.accepted, await simCalls(ground.simUrl));
    expect(verdict).toMatchObject({ lost: [], misCharged: [], twins: [], doubleCalls: [] });
    expect(verdict.unsuccessful.filter((line) => !line.endsWith(': canceled (null)'))).toEqual([]);
    expect((await fleet.admin.get('/v1/admin/invariants')).body).toMatchObject({ ok: true, breaches: [] });
    expect(fleet.errors()).toEqual([]);
  });
});
