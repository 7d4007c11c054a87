// Paid work is never lost, and charged once: processes are killed while the simulator's log shows open calls, the queue is
// wiped with work in flight, PostgreSQL is restarted under load. bench/chaos.ts does the same at production settings.
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { makeAccount } from '../support/accounts.ts';
import { chat } from '../support/client.ts';
import { type Fleet, startFleet } from '../support/fleet.ts';
import { type Ground, openGround } from '../support/ground.ts';
import { type Load, startLoad } from '../support/load.ts';
import { BACKENDS } from '../support/platform.ts';
import { victimsOf, whileCallsAreOpen } from '../support/reruns.ts';
import { simCalls } from '../support/sim-log.ts';
import { eventually } from '../support/eventually.ts';
import { calm, judge } from '../support/verdict.ts';

vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

const LEASE_MS = 2_000;
/** Production promises 15 s at a lease of 9 s: the same 6 s on top of this lease, and some for a busy machine. */
const RERUN_WITHIN_MS = LEASE_MS + 6_000 + 2_000;
const WIPE_WITHIN_MS = 20_000;
const CALL_MS = 600;

/** Mostly answers in one piece, some streams, some pictures. */
function job(n: number): Record<string, unknown> {
  const sim = { latency_ms: CALL_MS };
  if (n % 8 === 0) return { model: 'sim/image', input: { prompt: `mill ${n}`, size: '64x64', sim } };
  return chat(`job ${n}`, { stream: n % 4 === 0, max_tokens: 50, sim });
}

describe.each(BACKENDS)('kills on %s', (backend) => {
  let ground: Ground;
  let fleet: Fleet;
  let load: Load;

  beforeAll(async () => {
    ground = await openGround(backend, { env: { LEASE_MS: String(LEASE_MS), SWEEP_MS: '500' } });
    fleet = await startFleet(ground.installation, { workers: 2, concurrency: 12 });
    const accounts = await Promise.all(
      [1, 2, 3].map(() => makeAccount(fleet.url, fleet.admin, { plan: 'startup' })),
    );
    load = startLoad({ clients: accounts, pauseMs: 60, job });
  });
  afterAll(async () => {
    await load?.stop();
    await fleet?.stop();
    await ground?.stop();
  });

  /** The calls that `kill` cut off are made again; answers the longest time one of them took to begin, in ms. */
  async function longestRerun(kill: () => Promise<number>): Promise<number> {
    const open = await whileCallsAreOpen(ground.simUrl, 3);
    const at = await kill();
    const victims = await victimsOf(ground.simUrl, { open, at, withinMs: RERUN_WITHIN_MS });
    return Math.max(...victims.map(({ ms }) => ms));
  }

  it('three workers die, and what they were at is run again', async () => {
    for (const index of [0, 1, 0]) {
      expect(await longestRerun(() => fleet.killWorker(index))).toBeLessThan(RERUN_WITHIN_MS);
    }
  });

  it('the API dies three times, and clients who ask again have one job each', async () => {
    for (let i = 0; i < 3; i++) {
      await whileCallsAreOpen(ground.simUrl, 3);
      const before = load.accepted.size;
      await fleet.killApi();
      await eventually(() => load.accepted.size > before + 10, {
        what: 'submissions go on',
        withinMs: 20_000,
      });
    }
    expect(load.repeats).toBeGreaterThan(0);
  });

  it('everything dies three times', async () => {
    for (let i = 0; i < 3; i++) {
      expect(await longestRerun(() => fleet.killAll())).toBeLessThan(RERUN_WITHIN_MS);
    }
  });

  it('the queue forgets everything with jobs running, waiting and in line', async () => {
    const { sql } = ground.installation;
    const { postgres: _, ...before } = { postgres: 0, at: Date.now() };
    await eventually(async () => (await waiting(0)).length >= 5, {
      what: 'jobs wait with a slot',
      withinMs: 20_000,
    });
    const lost = await waiting(0);
    await ground.wipeQueue();
    await eventually(async () => (await waiting(0)).every((id) => !lost.includes(id)), {
      what: 'what the queue forgot has been claimed',
      withinMs: WIPE_WITHIN_MS,
    });
    void before;
    async function waiting(rings: number): Promise<string[]> {
      const rows = await sql<{ id: string }>(
        `select id from jobs where status = 'queued' and slot is not null and rings >= $1`,
        [rings],
      );
      return rows.map(({ id }) => id);
    }
  });

  it.each(['fast', 'immediate'] as const)('PostgreSQL restarts (%s) under load', async (mode) => {
    await whileCallsAreOpen(ground.simUrl, 3);
    await ground.postgres.restart(mode);
    const before = load.accepted.size;
    await eventually(() => load.accepted.size > before + 20, { what: 'submissions go on', withinMs: 30_000 });
  });

  it('every accepted job has ended and was charged once', async () => {
    await load.stop();
    await calm(ground.installation, { withinMs: 40_000 });
    const calls = await simCalls(ground.simUrl);
    const verdict = await judge(ground.installation, load.accepted, calls);
    expect(verdict).toMatchObject({
      jobs: load.accepted.size,
      lost: [],
      misCharged: [],
      unsuccessful: [],
      twins: [],
      doubleCalls: [],
    });
    expect(load.twins).toEqual([]);
    const { body } = await fleet.admin.get('/v1/admin/invariants');
    expect(body).toMatchObject({ ok: true, breaches: [] });
  });
});
