// One account with a long line and 100 slots, and twenty that send a job now and then, where 16 run at once. Its messages
// stand in the queue before each of theirs; yet they wait no longer than one job runs. bench/fairness.ts has the full scale.
import { describe, expect, it, vi } from 'vitest';
import { openBullQueue } from '../../src/queue/bullmq.ts';
import type { OpenQueue } from '../../src/queue/queue.ts';
import { holdContest, type Outcome, type Rules } from '../support/contest.ts';
import { BACKENDS, type PlatformOptions, startPlatform } from '../support/platform.ts';

vi.setConfig({ testTimeout: 120_000 });

const AT_ONCE = 16;
/** As in the full scale, the small ones ask for five eighths of what can run. */
const RULES: Rules = {
  bigJobs: 1_500,
  smallAccounts: 20,
  everyMs: 1_600,
  runMs: 800,
  spread: 0.5,
  forMs: 9_600,
  seed: 16,
};
/** Six from each small account. */
const SMALL_JOBS = 120;
const CAPACITY = (AT_ONCE * 1_000) / RULES.runMs;

async function contest(
  options: PlatformOptions,
  rules: Partial<Rules> = {},
): Promise<Outcome & { failures: number }> {
  const half = { concurrency: AT_ONCE / 2 };
  const millrace = await startPlatform({ ...options, worker: half });
  try {
    await millrace.addWorker(half);
    const outcome = await holdContest({ ...millrace, atOnce: AT_ONCE }, { ...RULES, ...rules });
    const failed = await millrace.sql(`select from attempts where outcome = 'failed'`);
    return { ...outcome, failures: failed.length };
  } finally {
    await millrace.stop();
  }
}

/** A queue that hears everybody in the order they rang. */
const inOrder: OpenQueue = async (options) => {
  const queue = await openBullQueue(options);
  return { ...queue, ring: (bells) => queue.ring(bells.map((bell) => ({ ...bell, slot: 1 }))) };
};

describe('small accounts beside one with a long line', () => {
  it.each(BACKENDS)('wait no longer than one job runs, on %s', async (backend) => {
    const outcome = await contest(
      { backend },
      // What the big one calls urgent is urgent in its own line; what comes back to its line finds no way around theirs.
      {
        bigJob: (n) => ({
          ...(n % 2 === 0 ? { priority: 'high' } : {}),
          ...(n % 10 === 0 ? { sim: { fault: '500', times: 1 } } : {}),
        }),
      },
    );
    console.log(`${backend}: ${JSON.stringify(outcome)}`);
    expect(outcome.small.p95).toBeLessThanOrEqual(RULES.runMs);
    expect(outcome.small).toMatchObject({ count: SMALL_JOBS, unstarted: 0 });
    expect(outcome.failures).toBeGreaterThan(0);
    // And that there was something to wait for: all that can run ran, and the big one had what the others left.
    expect(outcome.ranMs).toBeGreaterThan(RULES.runMs * 0.8);
    expect(outcome.bigLeft).toBeGreaterThan(RULES.bigJobs / 2);
    expect(outcome.jobsPerSecond).toBeGreaterThan(CAPACITY * 0.6);
    expect(outcome.bigJobsPerSecond).toBeGreaterThan(CAPACITY * 0.15);
  });

  it('would wait for several, were the queue to hear slots alike', async () => {
    const { small } = await contest({ openQueue: inOrder }, { forMs: 4_800 });
    console.log(`in order: ${JSON.stringify(small)}`);
    expect(small.p95).toBeGreaterThan(2 * RULES.runMs);
  });
});
