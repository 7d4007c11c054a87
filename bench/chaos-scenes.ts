// What is done to a running platform: kills, a wiped queue, restarts of its database. Each scene waits until the platform
// has shown that it survived, and answers how long that took.
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../test/support/eventually.ts';
import type { Fleet, Kill } from '../test/support/fleet.ts';
import type { Ground } from '../test/support/ground.ts';
import type { Load } from '../test/support/load.ts';
import { callsEnd, killAmidCalls, rerunsOf, whileCallsAreOpen } from '../test/support/reruns.ts';
import { wipeUnderLoad } from '../test/support/wipe.ts';

export interface Stage {
  ground: Ground;
  fleet: Fleet;
  load: Load;
}

/** A kill counts only with so many calls open. */
const OPEN_CALLS = 10;
/** How far back the simulator's log is looked through: a minute and more of calls, a burst included. */
const LAST = 2_000;
const PATIENCE_MS = 60_000;
/** Submissions that an API has in its hands as it dies; and at which of the next milliseconds it does. */
const IN_HAND = 30;
const WITHIN_MS = 30;

export interface Cutting {
  open: number;
  /** From the kill until each job that was cut off was called again. */
  rerunSeconds: number[];
  /** From the kill until all that was killed was ready again. */
  backSeconds: number;
}

export const killWorker = (stage: Stage): Promise<Cutting> => cutting(stage, () => stage.fleet.killWorker());

/** API, workers, PostgreSQL with its sessions, and Redis: all but the simulator, which is the vendor. */
export const killEverything = (stage: Stage): Promise<Cutting> =>
  cutting(stage, () => stage.fleet.killAll(() => stage.ground.crash()));

async function cutting({ ground: { simUrl } }: Stage, kill: () => Promise<Kill>): Promise<Cutting> {
  const patience = { atLeast: OPEN_CALLS, withinMs: PATIENCE_MS, last: LAST };
  const { at, backAt, open, reruns } = await killAmidCalls(simUrl, patience, kill);
  // Else kill after kill would cut the same jobs, and the tenth interruption of a job is its last by design.
  await callsEnd(simUrl, { calls: reruns, last: LAST });
  return {
    open,
    rerunSeconds: reruns.map(({ startedAt }) => (startedAt - at) / 1000),
    backSeconds: (backAt - at) / 1000,
  };
}

export interface ApiKill {
  open: number;
  /** Of the calls that were open. An API makes none, so that its end should cut none. */
  cutCalls: number;
  /** Requests that were sent again because no answer came. */
  repeated: number;
  /** Of those, the ones whose job was there already. */
  unheard: number;
  /** From the kill until every submission it cut off was accepted. */
  answeredSeconds: number;
}

export async function killApi({ ground: { simUrl }, fleet, load }: Stage): Promise<ApiKill> {
  const open = await whileCallsAreOpen(simUrl, OPEN_CALLS, LAST);
  const before = { repeats: load.repeats, unheard: load.unheard };
  const inHand = load.burst(IN_HAND);
  // Sometimes it dies before they are read, sometimes after they are committed.
  await sleep(Math.random() * WITHIN_MS);
  const { at } = await fleet.killApi();
  await inHand;
  const answeredSeconds = (Date.now() - at) / 1000;
  const cut = await rerunsOf(simUrl, { open, withinMs: PATIENCE_MS, last: LAST });
  return {
    open: open.length,
    cutCalls: cut.length,
    repeated: load.repeats - before.repeats,
    unheard: load.unheard - before.unheard,
    answeredSeconds,
  };
}

export interface Restart {
  mode: 'fast' | 'immediate';
  open: number;
  cutCalls: number;
  /** From the first signal until a submission was accepted, and until a job that had a call open had ended. */
  acceptsSeconds: number;
  settlesSeconds: number;
}

export async function restartPostgres({ ground, load }: Stage, mode: Restart['mode']): Promise<Restart> {
  const { simUrl, postgres, installation } = ground;
  const open = await whileCallsAreOpen(simUrl, OPEN_CALLS, LAST);
  const at = Date.now();
  await postgres.restart(mode);
  const accepted = load.accepted.size;
  const since = async (what: string, is: () => Promise<boolean> | boolean): Promise<number> => {
    await eventually(is, { what, withinMs: PATIENCE_MS, everyMs: 20 });
    return (Date.now() - at) / 1000;
  };
  const settled = async (): Promise<boolean> => {
    const ended = 'select 1 from jobs where id = any($1) and ended_at > pg_postmaster_start_time() limit 1';
    return (await installation.sql(ended, [open.map(({ jobId }) => jobId)])).length > 0;
  };
  const [acceptsSeconds, settlesSeconds] = await Promise.all([
    since('submissions are accepted again', () => load.accepted.size > accepted),
    since('jobs are settled again', settled),
  ]);
  const cut = await rerunsOf(simUrl, { open, withinMs: PATIENCE_MS, last: LAST });
  return { mode, open: open.length, cutCalls: cut.length, acceptsSeconds, settlesSeconds };
}

/** @param work a burst of `burst` jobs brings at least `inFlight` of them into workers' hands or the queue */
export const wipeQueue = ({ ground, load }: Stage, work: { burst: number; inFlight: number }) =>
  wipeUnderLoad(ground, load, work);
