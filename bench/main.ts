// `npm run bench`: jobs a second from HTTP submission to settled, beside bare BullMQ on the same Redis in alternating
// runs; submission latency with an empty and with a long line; memory under load. Writes bench/results/latest.json.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { openClient } from '../test/support/client.ts';
import type { TestAccount } from '../test/support/platform.ts';
import { amount } from './amount.ts';
import { type LoadResult, median, percentile, shoot, type Shot } from './load.ts';
import { describeMachine, type Machine, startMachine, watchMemory } from './machine.ts';
import { PAYLOAD } from './payload.ts';
import { cpuTimes, type CpuShare, shares } from './cpu.ts';

const {
  jobs: JOBS,
  runs: RUNS,
  waiting: WAITING,
} = new Command('npm run bench --')
  .description(
    'Measures Millrace beside bare BullMQ on a Redis of its own, and writes bench/results/latest.json.',
  )
  .addOption(amount('--jobs <n>', 'jobs of one run').env('BENCH_JOBS').default(12_000))
  .addOption(amount('--runs <n>', 'runs, of which the median counts').env('BENCH_RUNS').default(3))
  .addOption(amount('--waiting <n>', 'jobs of the long line').env('BENCH_WAITING').default(100_000))
  .helpOption('-h, --help', 'show this')
  .parse()
  .opts<{ jobs: number; runs: number; waiting: number }>();
const LOOPS = 128;
const ACCOUNTS = 20;
const LATENCY_SHOTS = 4_000;
const BODY = JSON.stringify(PAYLOAD);
const say = (line: string): void => void process.stdout.write(`${line}\n`);

say(`Millrace bench: ${describeMachine()}`);
const machine = await startMachine('redis');
try {
  const throughput = await measureThroughput(machine);
  const latency = await measureLatency(machine);
  const results = {
    machine: describeMachine(),
    at: new Date().toISOString(),
    jobs: JOBS,
    ...throughput,
    ...latency,
    targets: { throughput_ratio: 0.25, p99_ratio_100k_waiting: 1.5, api_rss_mb: 250, worker_rss_mb: 250 },
  };
  const folder = new URL('results/', import.meta.url);
  await mkdir(folder, { recursive: true });
  await writeFile(new URL('latest.json', folder), `${JSON.stringify(results, null, 2)}\n`);
  say(`\n${JSON.stringify(results, null, 2)}`);
} finally {
  await machine.stop();
}

async function measureThroughput(machine: Machine) {
  const worker = await machine.worker({ queues: 'chat', concurrency: 200 });
  // Enough slots for the worker to be full, spread over accounts as tenants are.
  const accounts = await Promise.all(
    Array.from({ length: ACCOUNTS }, () =>
      machine.account({ plan: 'scale', credits: 2_000_000_000, overrides: { line_length: 1_000_000 } }),
    ),
  );
  await settleAll(machine, accounts, { jobs: 2_000, name: 'warm-up' });
  const stopApi = watchMemory(machine.api.pid);
  const stopWorker = watchMemory(worker.pid);
  const ours: number[] = [];
  const bare: number[] = [];
  let busy: CpuShare[] = [];
  for (let run = 1; run <= RUNS; run++) {
    const before = cpuTimes();
    ours.push(await settleAll(machine, accounts, { jobs: JOBS, name: `run${run}` }));
    busy = shares(before, {
      [machine.api.pid]: 'api',
      [worker.pid]: 'worker',
      [process.pid]: 'load generator',
    });
    bare.push(await bareRun(machine.redis.url));
    say(
      `run ${run}: Millrace ${ours.at(-1)?.toFixed(0)} jobs/s, bare BullMQ ${bare.at(-1)?.toFixed(0)} jobs/s`,
    );
  }
  const memory = { api_rss_mb: stopApi(), worker_rss_mb: stopWorker() };
  await worker.drain();
  say(
    `what the two cores did in the last run: ${busy.map(({ name, percent }) => `${name} ${percent}%`).join(', ')}`,
  );
  return {
    throughput_ratio: round(median(ours) / median(bare)),
    jobs_per_second: Math.round(median(ours)),
    bare_jobs_per_second: Math.round(median(bare)),
    ...memory,
    cpu_percent_of_one_core: Object.fromEntries(busy.map(({ name, percent }) => [name, percent])),
  };
}

/** Submits over HTTP from 128 loops, half of them keyed, and counts in SQL until all are settled. */
async function settleAll(
  machine: Machine,
  accounts: readonly TestAccount[],
  { jobs, name }: { jobs: number; name: string },
): Promise<number> {
  const shots = Array.from({ length: jobs }, (_, i): Shot => ({
    path: '/v1/jobs',
    body: BODY,
    headers: i % 2 === 0 ? { 'idempotency-key': `${name}-${i}` } : {},
  }));
  const settled = async (): Promise<number> => {
    const [row] = await machine.sql<{ n: string }>(
      `select count(*) as n from jobs where status = 'succeeded'`,
    );
    return Number(row?.n);
  };
  const before = await settled();
  const started = performance.now();
  const load = await shoot(machine.api.url, {
    shots,
    loops: LOOPS,
    key: (i) => (accounts[i % accounts.length] as TestAccount).key,
  });
  assertAccepted(load, jobs);
  while ((await settled()) < before + jobs) await new Promise((resolve) => setTimeout(resolve, 20));
  return jobs / ((performance.now() - started) / 1000);
}

function assertAccepted({ statuses }: LoadResult, jobs: number): void {
  if (statuses.get(202) !== jobs) throw new Error(`not all were accepted: ${JSON.stringify([...statuses])}`);
}

async function bareRun(redisUrl: string): Promise<number> {
  const start = (role: string) => {
    const child = spawn(
      process.execPath,
      [fileURLToPath(new URL('bare.ts', import.meta.url)), role, redisUrl, String(JOBS)],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
  };
  const read = async (lines: AsyncIterator<string>) =>
    JSON.parse((await lines.next()).value as string) as { started: number; ended: number };
  const work = start('work');
  await read(work.lines);
  const add = start('add');
  const [{ started }, { ended }] = await Promise.all([read(add.lines), read(work.lines)]);
  const gone = once(work.child, 'exit');
  work.child.kill('SIGTERM');
  await gone;
  return JOBS / ((ended - started) / 1000);
}

/** Submissions in turn to an account with nothing waiting and to one with a long line, so that noise meets both alike. */
async function measureLatency(machine: Machine) {
  const overrides = { slots: 1, line_length: 10_000_000 };
  const [empty, long] = [
    await machine.account({ credits: 2e12, overrides }),
    await machine.account({ credits: 2e12, overrides }),
  ];
  say(`filling a line with ${WAITING} jobs`);
  const client = openClient(machine.api.url, long.key);
  for (let left = WAITING; left > 0; left -= 1000) {
    const answer = await client.post('/v1/jobs/batch', {
      jobs: Array.from({ length: Math.min(left, 1000) }, () => PAYLOAD),
    });
    if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
  }
  await machine.sql('vacuum analyze');
  const shots = Array.from({ length: LATENCY_SHOTS }, (): Shot => ({ path: '/v1/jobs', body: BODY }));
  const rounds = { empty: [] as Float64Array[], long: [] as Float64Array[] };
  for (let round = 0; round < 6; round++) {
    for (const [name, { key }] of [
      ['empty', empty],
      ['long', long],
    ] as const) {
      const load = await shoot(machine.api.url, { shots: shots.slice(0, LATENCY_SHOTS / 4), loops: 16, key });
      rounds[name].push(load.latencies);
    }
  }
  const pick = (name: 'empty' | 'long', p: number): number =>
    median(rounds[name].slice(1).map((latencies) => percentile(latencies, p)));
  return {
    submit_p50_ms_0_waiting: round(pick('empty', 0.5)),
    submit_p99_ms_0_waiting: round(pick('empty', 0.99)),
    submit_p50_ms_100k_waiting: round(pick('long', 0.5)),
    submit_p99_ms_100k_waiting: round(pick('long', 0.99)),
    p99_ratio_100k_waiting: round(pick('long', 0.99) / pick('empty', 0.99)),
  };
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
