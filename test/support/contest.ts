// One account with a long line beside many small ones, and how long each side waits: set up here once, for the test at a
// small scale and for the bench at the full one.
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestAccount } from './accounts.ts';
import { chat } from './client.ts';
import { type Dice, rollDice } from './dice.ts';
import { eventually } from './eventually.ts';
import type { Installation } from './installation.ts';

/** Where it is held: workers that run `atOnce` chat jobs in all, and nothing else to do. */
export interface Arena extends Pick<Installation, 'sql'> {
  account(options: { plan: string; credits: number }): Promise<TestAccount>;
  atOnce: number;
}

export interface Rules {
  /** Jobs of the big account, which has 100 slots. */
  bigJobs: number;
  smallAccounts: number;
  /** Each small account submits one job in so many ms, whatever became of the one before. */
  everyMs: number;
  /** A call takes from `runMs` less `spread` (0 to 1) of it to as much more, evenly. */
  runMs: number;
  spread: number;
  /** For how long the small ones submit, ms. */
  forMs: number;
  seed: number;
  /** What else the big account's n-th job says: its priority, and what goes wrong in the simulator. */
  bigJob?(n: number): { priority?: 'high' | 'low'; sim?: Record<string, unknown> };
}

/** Milliseconds from `created_at` to `started_at`. */
export interface Waits {
  count: number;
  /** Of `count`, those that had not started a while after the end: their wait until then counts. */
  unstarted: number;
  p50: number;
  p95: number;
  max: number;
}

export interface Outcome {
  small: Waits;
  /** Of the jobs that started meanwhile. */
  big: Waits;
  /** Mean time from a small job's start to its end, ms. */
  ranMs: number;
  /** Jobs ended meanwhile, and those of the big account among them. */
  jobsPerSecond: number;
  bigJobsPerSecond: number;
  /** Jobs of the big account that still waited at the end. Zero: the small ones were alone for a part of it. */
  bigLeft: number;
}

const BATCH = 1_000;
/** What is not started that many run times after the last submission counts as not started. */
const PATIENCE = 4;

/** @throws if a job is refused. The big one is first, and everything that runs is its own, when the small ones begin. */
export async function holdContest(arena: Arena, rules: Rules): Promise<Outcome> {
  const dice = rollDice(rules.seed);
  const big = await arena.account({ plan: 'scale', credits: 2_000_000_000 });
  const accounts = await Promise.all(
    Array.from({ length: rules.smallAccounts }, () =>
      arena.account({ plan: 'startup', credits: 200_000_000 }),
    ),
  );
  await submitAll(big, rules, dice);
  await eventually(async () => (await count(arena, `status = 'running'`)) === arena.atOnce, {
    what: 'as many run as can',
    withinMs: 30_000,
  });
  const from = await now(arena);
  await arrive(rules, dice, (index) => (accounts[index] as TestAccount).submit(job(rules, dice)));
  const to = await now(arena);
  const bigLeft = await count(arena, `account_id = $1 and status = 'queued'`, [big.id]);
  const unstarted = () => count(arena, 'account_id <> $1 and started_at is null', [big.id]);
  const until = performance.now() + PATIENCE * rules.runMs;
  while ((await unstarted()) > 0 && performance.now() < until) await sleep(50);
  return { ...look(await arena.sql<Row>(ROWS, [big.id, from, to]), +to - +from), bigLeft };
}

async function submitAll(big: TestAccount, rules: Rules, dice: Dice): Promise<void> {
  for (let from = 0; from < rules.bigJobs; from += BATCH) {
    const jobs = Array.from({ length: Math.min(BATCH, rules.bigJobs - from) }, (_, i) => {
      const { priority = 'normal', sim } = rules.bigJob?.(from + i) ?? {};
      return { ...job(rules, dice, sim), priority };
    });
    const { status, body } = await big.post('/v1/jobs/batch', { jobs });
    if (status !== 200 || (body.refused ?? 0) > 0)
      throw new Error(`refused: ${JSON.stringify(body).slice(0, 300)}`);
  }
}

const job = (rules: Rules, dice: Dice, sim: Record<string, unknown> = {}): Record<string, unknown> =>
  chat('grind', { stream: false, max_tokens: 8, sim: { latency_ms: runTime(rules, dice), ...sim } });

/**
 * Calls `submit` with each small account's number once in `everyMs`, each account at a moment of its own: twenty at the same
 * moment would be more than run at once, and the last of them would have to wait for each other whoever else is there.
 */
export async function arrive(
  { smallAccounts, everyMs, forMs }: Pick<Rules, 'smallAccounts' | 'everyMs' | 'forMs'>,
  dice: Dice,
  submit: (account: number) => Promise<unknown>,
): Promise<void> {
  const begin = performance.now();
  const one = async (account: number): Promise<void> => {
    const sent: Promise<unknown>[] = [];
    for (let due = phases[account] ?? 0; due < forMs; due += everyMs) {
      await sleep(Math.max(0, begin + due - performance.now()));
      sent.push(submit(account));
    }
    await Promise.all(sent);
  };
  const phases = Array.from({ length: smallAccounts }, () => dice.below(everyMs));
  await Promise.all(phases.map((_, account) => one(account)));
  await sleep(Math.max(0, begin + forMs - performance.now()));
}

export function runTime({ runMs, spread }: Pick<Rules, 'runMs' | 'spread'>, dice: Dice): number {
  return Math.round(runMs * (1 - spread)) + dice.below(Math.round(2 * runMs * spread) + 1);
}

export function waits(rows: readonly { waited: number; unstarted?: boolean }[]): Waits {
  const sorted = rows.map(({ waited }) => waited).toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0;
  return {
    count: rows.length,
    unstarted: rows.filter((row) => row.unstarted).length,
    p50: Math.round(at(0.5)),
    p95: Math.round(at(0.95)),
    max: Math.round(at(1)),
  };
}

const mean = (values: readonly number[]): number =>
  Math.round(values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length));

async function count({ sql }: Arena, where: string, values: unknown[] = []): Promise<number> {
  const [row] = await sql<{ n: number }>(`select count(*)::int as n from jobs where ${where}`, values);
  return row?.n ?? 0;
}

/** The database's time, as that of the jobs. */
async function now({ sql }: Arena): Promise<Date> {
  const [row] = await sql<{ now: Date }>('select millrace_now() as now');
  return row?.now ?? new Date(Number.NaN);
}

interface Row {
  big: boolean;
  /** Submitted, started for the first time, ended between the two instants. */
  fresh: boolean;
  started: boolean;
  ended: boolean;
  unstarted: boolean;
  waited: number;
  ran: number | null;
}

const ROWS = `select account_id = $1 as big, created_at between $2 and $3 as fresh,
    coalesce(started_at between $2 and $3, false) as started, coalesce(ended_at between $2 and $3, false) as ended,
    started_at is null as unstarted,
    (extract(epoch from coalesce(started_at, millrace_now()) - created_at) * 1000)::float8 as waited,
    (extract(epoch from ended_at - started_at) * 1000)::float8 as ran
  from jobs where created_at between $2 and $3 or started_at between $2 and $3 or ended_at between $2 and $3`;

function look(rows: readonly Row[], lastedMs: number): Omit<Outcome, 'bigLeft'> {
  const small = rows.filter((row) => !row.big && row.fresh);
  const ended = rows.filter((row) => row.ended);
  const perSecond = (count: number): number => Math.round((count / lastedMs) * 10_000) / 10;
  return {
    small: waits(small),
    big: waits(rows.filter((row) => row.big && row.started)),
    ranMs: mean(small.flatMap(({ ran }) => ran ?? [])),
    jobsPerSecond: perSecond(ended.length),
    bigJobsPerSecond: perSecond(ended.filter((row) => row.big).length),
  };
}
