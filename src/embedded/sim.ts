// The simulator as a service of a data folder: a process of its own, alive as long as it holds `sim.alive`.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { plainEnvironment } from './command.ts';
import { EmbeddedError, errorCode, lastLines } from './error.ts';
import { LockFile } from './lock.ts';
import { freePort } from './port.ts';
import type { Service } from './service.ts';

const START_MS = 20_000;
const STOP_MS = 5_000;
const POLL_MS = 10;

/**
 * What `sim.out` says of the simulator: whoever starts one writes `{"start"}`, a word of his own, before; the process
 * that was given this word writes `{"pid"}` once it holds the lock (sim-hold.ts) and `{"sim_url"}` once it listens.
 */
interface Said {
  pid: number | null;
  url: string | null;
}

/** `main` is the simulator's entry file; `folder` holds its lock and its output. */
export function simService(folder: string, main: string, log: (line: string) => void): Service {
  const sim = {
    main,
    lock: join(folder, 'sim.alive'),
    out: join(folder, 'sim.out'),
    log: join(folder, 'sim.log'),
  };
  return { name: 'sim', ensure: () => ensureSim(sim, log), stop: () => stopSim(sim), abandon };
}

/** It notices by itself that its folder is gone (sim-hold.ts). */
const abandon = async () => {};

type Sim = { main: string; lock: string; out: string; log: string };

async function ensureSim(sim: Sim, log: (line: string) => void): Promise<string> {
  const lock = new LockFile(sim.lock);
  const deadline = Date.now() + START_MS;
  try {
    let started: { exited(): boolean } | null = null;
    for (let starts = 0; ;) {
      if ((!started || started.exited()) && lock.tryExclusive()) {
        // Once more on another port: somebody may have taken ours before the simulator did.
        if (starts++ === 2)
          throw new EmbeddedError(`the simulator ended at its start: ${lastLines(read(sim.log))}`);
        const port = await freePort(started ? null : lastPort(sim));
        // Written by whoever finds the lock free, before letting go of it. So words are never stale, and a simulator
        // that was started for somebody who died, and comes late, finds another's word and ends.
        const word = randomUUID();
        writePrivate(sim.out, `${JSON.stringify({ start: word, port })}\n`);
        writePrivate(sim.log, '');
        lock.unlock();
        started = startSim(sim, port, word);
      }
      const { url } = said(sim);
      if (url && (await healthy(url))) {
        log(`simulator ${started ? 'started' : 'found'} at ${url}`);
        return url;
      }
      if (Date.now() > deadline) {
        throw new EmbeddedError(
          `the simulator does not answer (${url ?? 'no address'}): ${lastLines(read(sim.log))}`,
        );
      }
      await sleep(POLL_MS);
    }
  } finally {
    lock.close();
  }
}

function startSim(sim: Sim, port: number, word: string): { exited(): boolean } {
  const hold = new URL('sim-hold.ts', import.meta.url).href;
  // Appending, so that a process whose file was emptied goes on at its start.
  const out = openSync(sim.out, 'a', 0o600);
  const errors = openSync(sim.log, 'a', 0o600);
  try {
    const child = spawn(process.execPath, ['--import', hold, sim.main], {
      cwd: '/',
      env: {
        ...plainEnvironment(),
        ...simEnvironment(),
        SIM_HOST: '127.0.0.1',
        SIM_PORT: String(port),
        SIM_HOLD: sim.lock,
        SIM_OUT: sim.out,
        SIM_START: word,
      },
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

/** Asks the process to end, and waits until the kernel has taken its lock back. */
async function stopSim(sim: Sim): Promise<void> {
  const lock = new LockFile(sim.lock);
  const began = Date.now();
  let sent: NodeJS.Signals | null = null;
  try {
    while (!lock.tryExclusive()) {
      const waited = Date.now() - began;
      const signal = waited > STOP_MS ? 'SIGKILL' : 'SIGTERM';
      const { pid } = said(sim);
      // The lock is held, so this pid cannot be another's by now. None yet: it is between its lock and its first word.
      if (pid && signal !== sent) kill(pid, (sent = signal));
      if (waited > 2 * STOP_MS)
        throw new EmbeddedError(`the simulator (pid ${pid ?? 'unknown'}) cannot be stopped`);
      await sleep(POLL_MS);
    }
    // Nobody's word: what may still be on its way shall not run. The port is kept for the next one.
    writePrivate(sim.out, `${JSON.stringify({ start: null, port: lastPort(sim) })}\n`);
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

function said(sim: Sim): Said {
  const result: Said = { pid: null, url: null };
  for (const line of read(sim.out).split('\n').slice(0, -1)) {
    const word = parse(line);
    if (typeof word.pid === 'number') result.pid ??= word.pid;
    if (typeof word.sim_url === 'string') result.url ??= word.sim_url;
  }
  return result;
}

function parse(line: string): { pid?: unknown; sim_url?: unknown; port?: unknown } {
  try {
    return Object(JSON.parse(line));
  } catch {
    return {};
  }
}

function lastPort(sim: Sim): number | null {
  const { port } = parse(read(sim.out).split('\n')[0] ?? '');
  return typeof port === 'number' ? port : null;
}

const simEnvironment = () =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => name.startsWith('SIM_')));

async function healthy(url: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const request = get(`${url}/healthz`, { agent: false, timeout: 2_000 }, (response) => {
    response.resume();
    resolve(response.statusCode === 200);
  });
  request.once('timeout', () => request.destroy()).once('error', () => resolve(false));
  return promise;
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return '';
    throw error;
  }
}

/** In place: the simulator has the file open. */
function writePrivate(file: string, text: string): void {
  writeFileSync(file, text, { mode: 0o600 });
}
