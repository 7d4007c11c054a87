// `npm run bench:fairness`: what small accounts wait beside one with a long line, on both queue backends, and in a plain
// queue of the same jobs. Writes bench/results/fairness.json; exit code 1 if they wait longer than one job runs.
import { mkdir, writeFile } from 'node:fs/promises';
import { loadavg } from 'node:os';
import { Command, Option } from 'commander';
import { holdContest, type Outcome, type Rules, type Waits } from '../test/support/contest.ts';
import { startRedis } from '../test/support/redis.ts';
import { amount } from './amount.ts';
import { fifoWaits } from './fifo.ts';
import { describeMachine, startMachine } from './machine.ts';

const BACKENDS = ['postgres', 'redis'] as const;
type Backend = (typeof BACKENDS)[number];

const AT_ONCE = 16;
const SLOTS = 100;
const options = new Command('npm run bench:fairness --')
  .description(
    `One account with ${SLOTS} slots and a long line beside 20 small ones, ${AT_ONCE} jobs running at once: measures how long ` +
      'the small ones wait, and writes bench/results/fairness.json.',
  )
  .addOption(amount('--jobs <n>', 'jobs of the big account').default(10_000))
  .addOption(amount('--run <ms>', 'how long a job runs').default(2_000))
  .addOption(
    amount('--spread <percent>', 'by how much run times vary to both sides; 0: not at all', 0).default(0),
  )
  .addOption(amount('--every <ms>', 'each small account submits one job in so long').default(4_000))
  .addOption(amount('--seconds <n>', 'for how long they do').default(120))
  .addOption(new Option('--backend <name>', 'only this one').choices(BACKENDS))
  .helpOption('-h, --help', 'show this')
  .parse()
  .opts<{
    jobs: number;
    run: number;
    spread: number;
    every: number;
    seconds: number;
    backend?: Backend;
  }>();
const RULES: Rules = {
  bigJobs: options.jobs,
  smallAccounts: 20,
  everyMs: options.every,
  runMs: options.run,
  spread: Math.min(options.spread, 100) / 100,
  forMs: options.seconds * 1_000,
  seed: 1,
};
const say = (line: string): void => void process.stdout.write(`${line}\n`);

say(`Millrace bench of fairness: ${describeMachine()}, load ${loadavg()[0]?.toFixed(1)}`);
say(
  `${AT_ONCE} at once of ${RULES.runMs} ms are ${perSecond(AT_ONCE, RULES.runMs)} jobs/s; ` +
    `the small ones ask for ${perSecond(RULES.smallAccounts, RULES.everyMs)}, the big one for all it can get`,
);
// The machine's own load, ours included: what else runs on it makes waits longer, never shorter.
const backends: Partial<Record<Backend, Outcome & { holds: boolean; load: number }>> = {};
for (const backend of options.backend ? [options.backend] : BACKENDS) {
  const outcome = await measure(backend);
  const holds = outcome.small.unstarted === 0 && outcome.small.p95 <= RULES.runMs && outcome.bigLeft > 0;
  backends[backend] = { ...outcome, holds, load: loadavg()[0] ?? 0 };
  say(`\nMillrace on ${backend}: ${outcome.jobsPerSecond} jobs/s, a small job ran ${outcome.ranMs} ms`);
  table({ 'the small': outcome.small, 'the big': outcome.big });
  say(
    `p95 of the small ${outcome.small.p95} ms, one run ${RULES.runMs} ms: ${holds ? 'holds' : 'DOES NOT HOLD'}`,
  );
}
const fifo = await measureRivals();
say(
  '\nBare BullMQ, first come, first served: the small beside the whole line, or beside 100 of it at a time',
);
table({ 'the whole': fifo.whole_line, '100 of it': fifo.slots_only });

const results = {
  machine: describeMachine(),
  at: new Date().toISOString(),
  rules: { ...RULES, slots: SLOTS, atOnce: AT_ONCE },
  target: { small_p95_wait_ms: RULES.runMs },
  backends,
  fifo,
};
const folder = new URL('results/', import.meta.url);
await mkdir(folder, { recursive: true });
await writeFile(new URL('fairness.json', folder), `${JSON.stringify(results, null, 2)}\n`);
if (Object.values(backends).some(({ holds }) => !holds)) process.exitCode = 1;

async function measure(backend: Backend): Promise<Outcome> {
  const machine = await startMachine(backend);
  try {
    const half = { queues: 'chat', concurrency: AT_ONCE / 2 };
    await Promise.all([machine.worker(half), machine.worker(half)]);
    return await holdContest({ ...machine, atOnce: AT_ONCE }, RULES);
  } finally {
    await machine.stop();
  }
}

/** Both at once: they do nothing but wait. */
async function measureRivals(): Promise<{ whole_line: Waits; slots_only: Waits }> {
  const redis = await startRedis();
  try {
    const [whole, slots] = await Promise.all(
      [RULES.bigJobs, Math.min(SLOTS, RULES.bigJobs)].map((bigAtATime) =>
        fifoWaits(RULES, { redisUrl: redis.url, atOnce: AT_ONCE, bigAtATime }),
      ),
    );
    return { whole_line: whole as Waits, slots_only: slots as Waits };
  } finally {
    await redis.stop();
  }
}

function table(sides: Record<string, Waits>): void {
  say('wait, ms    jobs      p50      p95      max  not started');
  for (const [side, { count, p50, p95, max, unstarted }] of Object.entries(sides)) {
    const figures = [count, p50, p95, max].map((figure) => String(figure).padStart(8));
    say(`${side.padEnd(9)}${figures.join(' ')} ${String(unstarted).padStart(12)}`);
  }
}

function perSecond(count: number, ms: number): string {
  return ((count * 1_000) / ms).toFixed(1);
}
