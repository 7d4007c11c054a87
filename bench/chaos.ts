// `npm run bench:chaos`: what is promised about paid work, at production settings. Processes are killed while the
// simulator's log shows open calls, the queue is wiped with hundreds of jobs in flight, PostgreSQL is restarted under load;
// then every accepted job must have ended and been charged once. Writes bench/results/chaos.json; exit code 1 if a promise
// is broken. test/scenarios/kills.test.ts is its small sister, at a short lease.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import { type BackendName, type Run, runChaos } from './chaos-run.ts';
import { figuresOf, LIMITS, promisesBroken } from './chaos-figures.ts';
import { tableOf } from './chaos-table.ts';
import { describeMachine } from './machine.ts';

const RESULTS = new URL('results/chaos.json', import.meta.url);

const options = new Command('npm run bench:chaos --')
  .description(
    'Kills workers, APIs and everything, wipes the queue and restarts PostgreSQL under load, all on servers of its own, and ' +
      'writes bench/results/chaos.json. About a quarter of an hour a backend.',
  )
  .addOption(
    new Option('--backend <name>', 'what rings the workers')
      .choices(['postgres', 'redis', 'both'])
      .default('both'),
  )
  .option('--kills <n>', 'kills of each sort', parseKills, 20)
  .helpOption('-h, --help', 'show this')
  .parse()
  .opts<{ backend: BackendName | 'both'; kills: number }>();

const interruption = Promise.withResolvers<never>();
interruption.promise.catch(() => {});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => interruption.reject(new Error(`stopped by ${signal}`)));
process.on('unhandledRejection', (error) => interruption.reject(error));

const began = performance.now();
const say = (line: string): void => {
  const minutes = ((performance.now() - began) / 60_000).toFixed(1).padStart(5);
  process.stdout.write(`${minutes} min  ${line}\n`);
};

try {
  say(`Millrace chaos: ${describeMachine()}`);
  const runs: Run[] = [];
  for (const backend of options.backend === 'both' ? (['postgres', 'redis'] as const) : [options.backend]) {
    const run = await runChaos({
      backend,
      kills: options.kills,
      say: (line) => say(`${backend.padEnd(8)}  ${line}`),
      interrupted: interruption.promise,
    });
    runs.push(run);
    await keep(run);
    process.stdout.write(tableOf(backend, figuresOf(run)));
  }
  process.exit(runs.some((run) => promisesBroken(run).length > 0) ? 1 : 0);
} catch (error) {
  // Roles that still run end with us: see test/support/spawn.ts.
  process.stderr.write(`bench:chaos: ${(error as Error).stack}\n`);
  process.exit(1);
}

/** Beside the other backend's figures of an earlier run. */
async function keep(run: Run): Promise<void> {
  const before = await readFile(RESULTS, 'utf8').catch(() => '{}');
  const { backends = {} } = JSON.parse(before) as { backends?: Record<string, object> };
  const results = {
    limits: LIMITS,
    backends: {
      ...backends,
      [run.backend]: { at: new Date().toISOString(), machine: describeMachine(), ...figuresOf(run) },
    },
  };
  await mkdir(new URL('.', RESULTS), { recursive: true });
  await writeFile(RESULTS, `${JSON.stringify(results, null, 2)}\n`);
}

function parseKills(text: string): number {
  const kills = Number(text);
  if (Number.isInteger(kills) && kills > 0) return kills;
  throw new InvalidArgumentError('It must be a whole number above 0.');
}
