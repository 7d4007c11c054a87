// The postmaster of a cluster: found, started, stopped.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from '../command.ts';
import { EmbeddedError, errorCode } from '../error.ts';
import { freePort } from '../port.ts';
import type { Cluster } from './cluster.ts';
import { dataFolder, writeSettings } from './cluster.ts';
import type { Attempt } from './start.ts';
import { startPostmaster } from './start.ts';

// A start may have to replay a gigabyte of WAL first.
const READY_MS = 120_000;
const STOP_MS = 60_000;
const IMMEDIATE_MS = 10_000;
const POLL_MS = 10;
const STARTS = 5;

export interface Postmaster {
  pid: number;
  port: number;
  /** `ready`, `starting` or `stopping`, as PostgreSQL writes it. */
  status: string;
}

/** The cluster's postmaster if it lives. A file left by a power cut names a process of something else, or none. */
export async function findPostmaster(home: string): Promise<Postmaster | null> {
  const written = readPidFile(home);
  return written && (await isPostmaster(written.pid, home)) ? written : null;
}

function readPidFile(home: string): Postmaster | null {
  try {
    const lines = readFileSync(join(dataFolder(home), 'postmaster.pid'), 'utf8').split('\n');
    return { pid: Number(lines[0]), port: Number(lines[3]), status: (lines[7] ?? 'starting').trim() };
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    throw error;
  }
}

/** Judged by its command line, which names the data folder and which every user may read. */
async function isPostmaster(pid: number, home: string): Promise<boolean> {
  if (!(pid > 0)) return false;
  const words = ['postgres', '-D', dataFolder(home)];
  if (!existsSync('/proc/self/cmdline')) {
    const { output } = await run('ps', ['-ww', '-o', 'args=', '-p', String(pid)]);
    return output.trimEnd().endsWith(words.join(' '));
  }
  try {
    return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).endsWith(`${words.join('\0')}\0`);
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ESRCH') return false;
    throw error;
  }
}

/**
 * Answers when the server is ready, started if need be. Waits for one that is just starting or stopping. `port` is
 * the one wished for, by default where it was the last time; if it is taken the server gets another.
 */
export async function ensureServer(cluster: Cluster, port = lastPort(cluster.home)): Promise<Postmaster> {
  const deadline = Date.now() + READY_MS;
  let attempt: Attempt | null = null;
  for (let starts = 0; ; await sleep(POLL_MS)) {
    const running = await findPostmaster(cluster.home);
    if (running?.status === 'ready') return running;
    if (Date.now() > deadline) {
      throw new EmbeddedError(`PostgreSQL was not ready after ${READY_MS / 1000} s: see ${cluster.home}`);
    }
    if (running || attempt?.exited() === false) continue;
    const words = await attempt?.words();
    if (words && (starts === STARTS || !mayPass(words))) {
      throw new EmbeddedError(`PostgreSQL did not start: ${words}`);
    }
    // Another's sessions, of a postmaster that was killed, take a moment to notice.
    if (starts > 0) await sleep(300 * starts);
    dropForeignPidFile(cluster.home);
    await writeSettings(cluster, await freePort(starts === 0 ? port : null));
    attempt = startPostmaster(cluster);
    starts += 1;
  }
}

/** A start that lost a race: for the port, or with what is left of a killed server, or with another's delayed start. */
const mayPass = (words: string) =>
  /Address already in use|could not create any TCP|still in use|postmaster\.pid" already exists/.test(words);

/** PostgreSQL clears a dead owner's file itself, but takes any process of its user that has the pid for that owner. */
function dropForeignPidFile(home: string): void {
  const written = readPidFile(home);
  if (!written || !(written.pid > 0)) return;
  try {
    process.kill(written.pid, 0);
  } catch {
    return;
  }
  rmSync(join(dataFolder(home), 'postmaster.pid'), { force: true });
}

function lastPort(home: string): number | null {
  const file = join(home, 'millrace.conf');
  const port = existsSync(file) ? /^port = '(\d+)'$/m.exec(readFileSync(file, 'utf8'))?.[1] : undefined;
  return port ? Number(port) : null;
}

/**
 * Stops the server, if it runs, and waits for its end. `fast` breaks off sessions and writes a checkpoint; `immediate`
 * is a crash. The signal is sent by ourselves, not by a pg_ctl that could outlive us: who finds the lock free
 * can be sure that no stop is still on its way.
 */
export async function stopServer(home: string, mode: 'fast' | 'immediate' = 'fast'): Promise<void> {
  const running = await findPostmaster(home);
  if (running) await stopPostmaster(running.pid, home, mode);
}

/** Like `stopServer`, for a server whose files may be gone. Does nothing if `pid` is no longer that server. */
export async function stopPostmaster(
  pid: number,
  home: string,
  mode: 'fast' | 'immediate' = 'fast',
): Promise<void> {
  if (!(await isPostmaster(pid, home))) return;
  if (mode === 'fast' && (await ends(pid, home, { signal: 'SIGINT', waitMs: STOP_MS }))) return;
  if (await ends(pid, home, { signal: 'SIGQUIT', waitMs: IMMEDIATE_MS })) return;
  throw new EmbeddedError(`PostgreSQL (pid ${pid}) did not stop`);
}

async function ends(
  pid: number,
  home: string,
  by: { signal: NodeJS.Signals; waitMs: number },
): Promise<boolean> {
  const deadline = Date.now() + by.waitMs;
  try {
    process.kill(pid, by.signal);
  } catch (error) {
    if (errorCode(error) === 'ESRCH') return true;
    throw new EmbeddedError(`PostgreSQL (pid ${pid}) belongs to another user: ${String(error)}`);
  }
  while (await isPostmaster(pid, home)) {
    if (Date.now() > deadline) return false;
    await sleep(POLL_MS);
  }
  return true;
}
