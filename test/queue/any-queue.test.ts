// Millrace needs nothing of its queue: the whole platform on each, with jobs of every kind, calls that fail, workers that
// come and go, a queue that is emptied; and on one that does everything wrong all the time.
import { Redis } from 'ioredis';
import { describe, it, vi } from 'vitest';
import { type Broker, CRUEL, openBroker } from '../support/adversarial-queue.ts';
import { rollDice } from '../support/dice.ts';
import { eventually } from '../support/eventually.ts';
import { startSim } from '../support/global-setup.ts';
import { submitMixed } from '../support/mixed-work.ts';
import { install, type Installation, runPlatform, type TestPlatform } from '../support/platform.ts';
import { STANDS, type StandName } from '../support/queue-stands.ts';
import { simCalls } from '../support/sim-log.ts';
import { slotUse } from '../support/slot-use.ts';
import { calm, judge } from '../support/verdict.ts';

vi.setConfig({ testTimeout: 120_000 });

const JOBS_EACH = 80;
const LEASE_MS = 3_000;
const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000);

interface Queue {
  wipe(): Promise<unknown>;
  /** Messages that the store says it was given, by store: all but one must be 0. */
  given(): Promise<Record<StandName, number>>;
  close(): void;
}

/** Everything is asked of the stores themselves: BullMQ writes an event for each message it takes. */
function lookInto({ env, sql }: Installation, broker: Broker | null): Queue {
  const redis = env['REDIS_URL'] ? new Redis(env['REDIS_URL']) : null;
  const inRedis = async (): Promise<number> => {
    const streams = (await redis?.keys('millrace:*:events')) ?? [];
    const lengths = await Promise.all(streams.map((key) => redis!.xlen(key)));
    return lengths.reduce((sum, length) => sum + length, 0);
  };
  return {
    wipe: async () => (broker ? broker.wipe() : redis ? redis.flushdb() : sql('delete from bullmq.job')),
    given: async () => ({
      postgres: (await sql<{ n: number }>('select count(*)::int as n from bullmq.event'))[0]?.n ?? 0,
      redis: await inRedis(),
      memory: broker?.deeds().rung ?? 0,
    }),
    close: () => redis?.disconnect(),
  };
}

const ended = async ({ sql }: Installation): Promise<number> =>
  (await sql<{ n: number }>('select count(*)::int as n from jobs where ended_at is not null'))[0]?.n ?? 0;

/** Two workers, of which one leaves and another comes; a wipe; some cancels. Answers the jobs that were accepted. */
async function aBadDay(millrace: TestPlatform, queue: Queue): Promise<string[]> {
  const dice = rollDice(SEED);
  const second = await millrace.addWorker({ concurrency: 1 });
  const accounts = await Promise.all([3, 5, 10].map((slots) => millrace.account({ overrides: { slots } })));
  const submitted = Promise.all(accounts.map((account) => submitMixed(account, { count: JOBS_EACH, dice })));
  const after = (jobs: number, what: string) =>
    eventually(async () => (await ended(millrace)) >= jobs, { what, withinMs: 60_000, everyMs: 20 });
  await after(40, 'forty jobs have ended');
  await queue.wipe();
  await after(90, 'ninety jobs have ended');
  await second.stop();
  await millrace.addWorker({ concurrency: 1 });
  const ids = await submitted;
  const unlucky = ids.flatMap((own, i) => own.slice(-5).map((id) => ({ id, account: accounts[i] })));
  await Promise.all(unlucky.map(({ id, account }) => account?.post(`/v1/jobs/${id}/cancel`)));
  return ids.flat();
}

describe.concurrent.each(STANDS)('the platform on a queue in %s', (name) => {
  it('ends every job once, uses no slot twice, and its books are right', async ({ expect }) => {
    const sim = await startSim();
    const installation = await install(name === 'redis' ? 'redis' : 'postgres', {
      SIM_URL: sim.url,
      LEASE_MS: String(LEASE_MS),
      SWEEP_MS: '100',
      DRAIN_SECONDS: '1',
    });
    const broker = name === 'memory' ? openBroker({ seed: SEED, malice: CRUEL, leaseMs: LEASE_MS }) : null;
    const millrace = await runPlatform(installation, {
      worker: { concurrency: 1 },
      ...(broker && { openQueue: async () => broker.connect() }),
    });
    const queue = lookInto(installation, broker);
    try {
      const ids = await aBadDay(millrace, queue);
      await calm(installation, { withinMs: 60_000 });

      const { [name]: given, ...others } = await queue.given();
      expect(given).toBeGreaterThan(0);
      expect(Object.values(others)).toEqual([0, 0]);

      const calls = await simCalls(sim.url);
      const verdict = await judge(installation, new Map(ids.map((id) => [id, id])), calls);
      expect(verdict).toMatchObject({ jobs: 3 * JOBS_EACH, lost: [], doubleCalls: [] });
      expect(verdict.unsuccessful.filter((line) => !line.includes('canceled'))).toEqual([]);
      expect(verdict.misCharged).toEqual([]);

      const use = await slotUse(installation, sim.url);
      expect(use.calls).toBeGreaterThan(3 * JOBS_EACH - 20);
      expect(use.doubles).toEqual([]);
      const most = [...use.most.values()].toSorted((a, b) => a - b);
      for (const [i, slots] of [3, 5, 10].entries()) expect(most[i]).toBeLessThanOrEqual(slots);

      const { body } = await millrace.admin.get('/v1/admin/invariants');
      expect(body).toMatchObject({ ok: true, breaches: [] });
      if (broker) {
        const deeds = broker.deeds();
        console.log(`seed ${SEED}: ${JSON.stringify(deeds)}`);
        for (const deed of ['lost', 'doubled', 'delayed', 'reordered', 'resurrected', 'misreported'] as const)
          expect(deeds[deed], deed).toBeGreaterThan(0);
      }
    } finally {
      queue.close();
      await millrace.stop();
      await sim.stop();
    }
  });
});
