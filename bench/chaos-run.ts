// One backend's run: a fleet at production settings under steady load, all that is done to it, and the reckoning.
import { makeAccount, type TestAccount } from '../test/support/accounts.ts';
import { chat } from '../test/support/client.ts';
import { startFleet } from '../test/support/fleet.ts';
import { type Ground, openGround } from '../test/support/ground.ts';
import { startLoad } from '../test/support/load.ts';
import type { SimCall } from '../test/support/sim-log.ts';
import { calm, judge } from '../test/support/verdict.ts';
import type { Wiped } from '../test/support/wipe.ts';
import { recordCalls, secondsUntilCalledAgain } from './calls.ts';
import {
  type ApiKill,
  type Cutting,
  killApi,
  killEverything,
  killWorker,
  type Restart,
  restartPostgres,
  type Stage,
  wipeQueue,
} from './chaos-scenes.ts';

export type BackendName = 'postgres' | 'redis';

export interface Plan {
  backend: BackendName;
  /** Of each sort. */
  kills: number;
  /** Gets a line for each thing that was done and survived. */
  say(line: string): void;
  /** Rejects when the run is to end at once. */
  interrupted: Promise<never>;
}

export interface Run {
  backend: BackendName;
  worker: Cutting[];
  api: ApiKill[];
  everything: Cutting[];
  wipes: Wiped[];
  restarts: Restart[];
  reckoning: Awaited<ReturnType<typeof reckon>>;
  minutes: number;
}

const WIPES = 3;
const RESTARTS = 3;
const WORK = { burst: 600, inFlight: 200 };
const ACCOUNTS = 6;
/** Of each account; with the pause, some twelve jobs a second in all. */
const CLIENTS = 2;
const PAUSE_MS = 950;
/** Together enough for more jobs than the workers call at once: some wait in the queue, some in line. */
const SLOTS = 60;

/** Calls of two to four seconds. Most are chats, half of them streamed; some pictures, some speech. */
function job(n: number): Record<string, unknown> {
  const sim = { latency_ms: 2_000 + ((n * 337) % 2_000) };
  if (n % 8 === 0) return { model: 'sim/image', input: { prompt: `mill ${n}`, size: '64x64', sim } };
  if (n % 8 === 4) return { model: 'sim/tts', input: { input: `sack ${n}`, sim } };
  return chat(`grain ${n}`, { stream: n % 2 === 0, max_tokens: 50, sim });
}

/** Starts its own servers, and ends them whatever happens. Everything else is at the product's defaults. */
export async function runChaos(plan: Plan): Promise<Run> {
  const ground = await openGround(plan.backend, { durable: true, env: { NODE_ENV: 'production' } });
  try {
    return await Promise.race([plan.interrupted, play(ground, plan)]);
  } finally {
    await ground.stop();
  }
}

async function play(ground: Ground, { backend, kills, say }: Plan): Promise<Run> {
  const began = performance.now();
  const record = recordCalls(ground.simUrl);
  const fleet = await startFleet(ground.installation, { workers: 2 });
  const accounts = await Promise.all(
    Array.from({ length: ACCOUNTS }, () =>
      makeAccount(fleet.url, fleet.admin, { plan: 'scale', credits: 2e12, overrides: { slots: SLOTS } }),
    ),
  );
  const clients = accounts.flatMap((account) => Array.from({ length: CLIENTS }, (): TestAccount => account));
  const load = startLoad({ clients, pauseMs: PAUSE_MS, job });
  const stage: Stage = { ground, fleet, load };
  const run = {
    worker: [] as Cutting[],
    api: [] as ApiKill[],
    everything: [] as Cutting[],
    wipes: [] as Wiped[],
    restarts: [] as Restart[],
  };
  const cut = ({ open, rerunSeconds, backSeconds }: Cutting): string =>
    `${open} calls open, ${rerunSeconds.length} cut, run again ${Math.min(...rerunSeconds).toFixed(1)} to ` +
    `${Math.max(...rerunSeconds).toFixed(1)} s after; back in ${backSeconds.toFixed(1)} s`;
  const done = <T>(list: T[], one: T, text: string): void => {
    list.push(one);
    say(text);
  };
  for (let n = 1; n <= kills; n++) {
    const title = (what: string): string => `${what} ${n}/${kills}`.padEnd(20);
    const worker = await killWorker(stage);
    done(run.worker, worker, `${title('worker')} ${cut(worker)}`);
    const api = await killApi(stage);
    done(
      run.api,
      api,
      `${title('API')} ${api.open} calls open, ${api.cutCalls} cut; ${api.repeated} requests repeated, of which ${api.unheard} had ` +
        `made their job; all accepted ${api.answeredSeconds.toFixed(1)} s after`,
    );
    const everything = await killEverything(stage);
    done(run.everything, everything, `${title('everything')} ${cut(everything)}`);
  }
  for (let n = 1; n <= WIPES; n++) {
    const wiped = await wipeQueue(stage, WORK);
    const { inFlight, waiting, line, ms } = wiped;
    const text = `${inFlight} jobs in flight, ${waiting} of them waiting for a worker, ${line} in line; all taken ${seconds(ms)} s after`;
    done(run.wipes, wiped, `${`queue wiped ${n}/${WIPES}`.padEnd(20)} ${text}`);
  }
  for (let n = 1; n <= RESTARTS; n++) {
    for (const mode of ['fast', 'immediate'] as const) {
      const restart = await restartPostgres(stage, mode);
      const { open, cutCalls, acceptsSeconds, settlesSeconds } = restart;
      const text = `${open} calls open, ${cutCalls} cut; accepts ${acceptsSeconds.toFixed(1)} s after, settles ${settlesSeconds.toFixed(1)} s after`;
      done(run.restarts, restart, `${`PostgreSQL ${mode}`.padEnd(20)} ${text}`);
    }
  }
  say('load ends; waiting for the last job');
  await load.stop();
  await calm(ground.installation, { withinMs: 120_000 });
  const reckoning = await reckon(stage, await record.end());
  await fleet.stop();
  return { backend, ...run, reckoning, minutes: (performance.now() - began) / 60_000 };
}

const seconds = (ms: number): string => (ms / 1000).toFixed(1);

/** What must be true at the end, from the database, the simulator's log, the clients' notes and the audit. */
async function reckon({ ground: { installation }, fleet, load }: Stage, calls: SimCall[]) {
  const verdict = await judge(installation, load.accepted, calls);
  const [row] = await installation.sql<{ n: number }>('select count(*)::int as n from jobs');
  const { body: audit } = await fleet.admin.get('/v1/admin/invariants');
  const again = secondsUntilCalledAgain(calls);
  return {
    verdict: { ...verdict, twins: [...verdict.twins, ...load.twins] },
    /** Jobs in the database that no client was told of. */
    unknown: (row?.n ?? 0) - new Set(load.accepted.values()).size,
    repeats: load.repeats,
    unheard: load.unheard,
    audit: { ok: audit.ok as boolean, rows: audit.rows as number, breaches: audit.breaches as unknown[] },
    calls: calls.length,
    cutCalls: again.length,
    neverAgain: again.filter((one) => one === null).length,
    slowestAgainSeconds: Math.max(0, ...again.filter((one) => one !== null)),
    errors: tally(fleet.errors()),
  };
}

/** How often each message was logged as an error. */
function tally(lines: readonly string[]): Record<string, number> {
  const messages = lines.map((line) => {
    const { msg, task, err } = JSON.parse(line) as { msg: string; task?: string; err?: { message?: string } };
    return [msg, task, err?.message].filter(Boolean).join(': ');
  });
  return Object.fromEntries([...Map.groupBy(messages, String)].map(([text, all]) => [text, all.length]));
}
