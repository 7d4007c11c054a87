// One attempt to start a postmaster, and what it said.
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { plainEnvironment } from '../command.ts';
import type { Cluster } from './cluster.ts';
import { dataFolder } from './cluster.ts';
import { complaints } from './complaints.ts';

const LAST_WORDS_MS = 2_000;

export interface Attempt {
  exited(): boolean;
  /** Once it has exited: what it complained of, in one line. */
  words(): Promise<string>;
}

/** In a session of its own, with a file for its words: no signal to our group and no closed pipe of ours reaches it. */
export function startPostmaster(cluster: Cluster): Attempt {
  const early = join(cluster.home, 'start.log');
  const before = newestLog(cluster.home);
  const out = openSync(early, 'w', 0o600);
  try {
    const child = spawn(cluster.binaries.postgres, ['-D', dataFolder(cluster.home)], {
      ...cluster.account,
      cwd: '/',
      env: plainEnvironment(),
      detached: true,
      stdio: ['ignore', out, out],
    });
    let ended: string | null = null;
    child.once('exit', (code, signal) => (ended = `it ended by ${signal ?? `code ${code}`}`));
    child.once('error', (error) => (ended = error.message));
    child.unref();
    const said = () => complaints(`${readFileSync(early, 'utf8')}\n${loggedSince(cluster.home, before)}`);
    return { exited: () => ended !== null, words: async () => (await lastWords(said)) || String(ended) };
  } finally {
    closeSync(out);
  }
}

/** Its logger is a process of its own, and may still be writing when the postmaster has ended. */
async function lastWords(said: () => string): Promise<string> {
  const deadline = Date.now() + LAST_WORDS_MS;
  for (;;) {
    const words = said();
    if (words || Date.now() > deadline) return words;
    await sleep(20);
  }
}

interface Log {
  path: string;
  size: number;
  mtimeMs: number;
}

function newestLog(home: string): Log | null {
  const folder = join(dataFolder(home), 'log');
  if (!existsSync(folder)) return null;
  const logs = readdirSync(folder).map((name) => {
    const { size, mtimeMs } = statSync(join(folder, name));
    return { path: join(folder, name), size, mtimeMs };
  });
  return logs.toSorted((a, b) => b.mtimeMs - a.mtimeMs)[0] ?? null;
}

function loggedSince(home: string, before: Log | null): string {
  const log = newestLog(home);
  if (!log) return '';
  return readFileSync(log.path)
    .subarray(log.path === before?.path ? before.size : 0)
    .toString();
}
