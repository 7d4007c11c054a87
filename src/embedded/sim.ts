// The simulator as a service of a data folder: a process of its own, alive as long as it holds `sim.alive`.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { plainEnvironment } from './command.ts';
import { EmbeddedError, errorCode, lastLines } from './error.ts';
import { LockFile } from './lock.ts';
import { freePort } from './port.ts';
import type { Service } from './service.ts';
import { beginWords, readText, readWords, sayStopping } from './sim-words.ts';

const START_MS = 20_000;
const STOP_MS = 5_000;
const POLL_MS = 10;
const STARTS = 2;

interface Sim {
  /** The simulator's entry file. */
  main: string;
  lock: string;
  out: string;
  log: string;
}

/** `folder` holds the simulator's lock and its output. */
export function simService(folder: string, main: string, log: (line: string) => void): Service {
  const file = (name: string) => join(folder, `sim.${name}`);
  const sim: Sim = { main, lock: file('alive'), out: file('out'), log: file('log') };
  return { name: 'sim', ensure: () => ensureSim(sim, log), stop: () => stopSim(sim), abandon };
}

/** It notices by itself that its folder is gone (sim-hold.ts). */
const abandon = async () => {};

async function ensureSim(sim: Sim, log: (line: string) => void): Promise<string> {
  // Who began to stop it was killed: it may still answer, but not for long.
  if (readWords(sim.out).stopping) await stopSim(sim);
  const lock = new LockFile(sim.lock);
  const deadline = Date.now() + START_MS;
  try {
    let attempt = null as Attempt | null;
    for (let starts = 0; ; await sleep(POLL_MS)) {
      if (attempt?.exited() !== false && lock.tryExclusive()) {
        if (starts === STARTS) throw refused('ended at its start', sim);
        // Once more on another port: somebody may have taken ours before the simulator did.
        attempt = await start(sim, lock, starts === 0 ? readWords(sim.out).port : null);
        starts += 1;
      }
      const { url } = readWords(sim.out);
      if (url && (await isHealthy(url))) {
        log(`simulator ${attempt ? 'started' : 'found'} at ${url}`);
        return url;
      }
      if (Date.now() > deadline) throw refused(`does not answer at ${url ?? 'any address'}`, sim);
    }
  } finally {
    lock.close();
  }
}

const refused = (what: string, sim: Sim) =>
  new EmbeddedError(`the simulator ${what}: ${lastLines(readText(sim.log)) || 'it said nothing'}`);

/** Writes the word before letting go of the lock: one that was started for somebody who died, and comes late, ends. */
async function start(sim: Sim, lock: LockFile, lastPort: number | null): Promise<Attempt> {
  const port = await freePort(lastPort);
  const word = randomUUID();
  beginWords(sim.out, word, port);
  lock.unlock();
  return spawnSim(sim, { SIM_PORT: String(port), SIM_START: word });
}

interface Attempt {
  exited(): boolean;
}

/** In a session of its own, with files for its words: no signal to our group and no closed pipe of ours reaches it. */
function spawnSim(sim: Sim, given: { SIM_PORT: string; SIM_START: string }): Attempt {
  const hold = new URL('sim-hold.ts', import.meta.url).href;
  // Appending, so that what others write there in the meantime is not overwritten.
  const out = openSync(sim.out, 'a', 0o600);
  const errors = openSync(sim.log, 'w', 0o600);
  try {
    const child = spawn(process.execPath, ['--import', hold, sim.main], {
      cwd: '/',
      env: { ...simEnvironment(), ...given, SIM_HOST: '127.0.0.1', SIM_HOLD: sim.lock, SIM_OUT: sim.out },
      detached: true,
      stdio: ['ignore', out, errors],
    });
    let exited = false;
    child.once('exit', () => (exited = true)).once('error', () => (exited = true));
    child.unref();
    return { exited: () => exited };
  } finally {
    closeSync(out);
    closeSync(errors);
  }
}

function simEnvironment(): Record<string, string | undefined> {
  const own = Object.entries(process.env).filter(([name]) => name.startsWith('SIM_'));
  return { ...plainEnvironment(), ...Object.fromEntries(own) };
}

/** Asks the process to end, and waits until the kernel has taken its lock back. */
async function stopSim(sim: Sim): Promise<void> {
  const lock = new LockFile(sim.lock);
  const began = Date.now();
  let sent: NodeJS.Signals | null = null;
  try {
    for (; !lock.tryExclusive(); await sleep(POLL_MS)) {
      const waited = Date.now() - began;
      const { pid, stopping } = readWords(sim.out);
      if (waited > 2 * STOP_MS) throw refused(`(pid ${pid ?? 'unknown'}) cannot be stopped`, sim);
      // Between its lock and its first word. Once there is one it cannot be another's: the lock is held.
      if (pid === null) continue;
      if (!stopping) sayStopping(sim.out);
      const signal = waited > STOP_MS ? 'SIGKILL' : 'SIGTERM';
      if (signal !== sent) kill(pid, (sent = signal));
    }
    // Nobody's word: what may still be on its way shall not run. The port is kept for the next one.
    beginWords(sim.out, null, readWords(sim.out).port);
  } finally {
    lock.close();
  }
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (errorCode(error) !== 'ESRCH') throw error;
  }
}

async function isHealthy(url: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const request = get(`${url}/healthz`, { agent: false, timeout: 2_000 }, (response) => {
    response.resume();
    resolve(response.statusCode === 200);
  });
  request.once('timeout', () => request.destroy()).once('error', () => resolve(false));
  return promise;
}
