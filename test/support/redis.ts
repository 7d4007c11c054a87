// A Redis of the test's own, on a free port.
import type { ChildProcess } from 'node:child_process';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePort } from '../../src/embedded/port.ts';
import type { RedisPrograms } from './redis-programs.ts';
import { findRedis } from './redis-programs.ts';
import { takeScratch } from './scratch.ts';
import { diesWithUs, goesWithUs } from './undertaker.ts';

export interface TestRedis {
  url: string;
  port: number;
  /** The pid of the server as it runs now. */
  readonly pid: number;
  /** What redis-cli prints, without the last line break: `cli('flushall')`. Rejects when the server answers an error. */
  cli(...words: string[]): Promise<string>;
  /** Stops and starts it on the same port: `keepData` after writing everything down, else as a new, empty one. */
  restart(options: { keepData: boolean; downForMs?: number }): Promise<void>;
  /** SIGKILL, and a start on the same port with what it had written down by itself. */
  crash(): Promise<void>;
  /** Ends the server and deletes its files. */
  stop(): Promise<void>;
}

export interface RedisOptions {
  /** Writes every command down within a second. Off by default. */
  appendonly?: boolean;
  /** How many databases it has; 16 by default. */
  databases?: number;
}

/** Starts a redis-server that refuses writes when its memory is full, as BullMQ demands. */
export async function startRedis(options: RedisOptions = {}): Promise<TestRedis> {
  const programs = await findRedis();
  const scratch = await takeScratch('redis', null, stopLeftover);
  const spare = goesWithUs(scratch.folder);
  const start = (port: number) => startServer({ programs, folder: scratch.folder, port, options });
  let running = await startSomewhere(start);
  const { port } = running;

  const cli = async (...words: string[]): Promise<string> => {
    const { stdout } = await promisify(execFile)(programs.cli, ['-e', '-p', String(port), ...words], {
      env: programs.env,
    });
    return stdout.replace(/\n$/, '');
  };
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    get pid() {
      return running.child.pid ?? 0;
    },
    cli,
    restart: async ({ keepData, downForMs = 0 }) => {
      if (keepData) await cli('save');
      await kill(running.child);
      if (!keepData)
        for (const name of ['dump.rdb', 'appendonlydir'])
          rmSync(join(scratch.folder, name), { recursive: true, force: true });
      await sleep(downForMs);
      running = await start(port);
    },
    crash: async () => {
      await kill(running.child);
      running = await start(port);
    },
    stop: async () => {
      await kill(running.child);
      scratch.drop();
      spare();
    },
  };
}

interface Running {
  child: ChildProcess;
  port: number;
}

/** The free port may be taken by the time the server wants it. */
async function startSomewhere(start: (port: number) => Promise<Running>): Promise<Running> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await start(await freePort());
    } catch (error) {
      if (attempt === 5 || !/Address already in use/.test(String(error))) throw error;
    }
  }
}

async function startServer(to: {
  programs: RedisPrograms;
  folder: string;
  port: number;
  options: RedisOptions;
}): Promise<Running> {
  const config = {
    port: to.port,
    bind: '127.0.0.1',
    dir: to.folder,
    save: '',
    databases: to.options.databases ?? 16,
    appendonly: to.options.appendonly ? 'yes' : 'no',
    'maxmemory-policy': 'noeviction',
    // The command line goes on naming the folder: leftovers are told by it.
    'set-proc-title': 'no',
  };
  const words = Object.entries(config).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const child = spawn(to.programs.server, words, {
    env: to.programs.env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  diesWithUs(child);
  writeFileSync(join(to.folder, 'pid'), String(child.pid));
  const said: string[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  createInterface(child.stdout).on('line', (line) => {
    said.push(line);
    if (line.includes('Ready to accept connections')) resolve();
  });
  child.once('error', reject);
  child.once('close', () => reject(new Error(`redis-server ended: ${said.slice(-3).join(' | ')}`)));
  await promise;
  return { child, port: to.port };
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** Ends the server of a run that died, if its pid is still that server's. */
async function stopLeftover(folder: string): Promise<void> {
  const file = join(folder, 'pid');
  const pid = existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0;
  const line = `/proc/${pid}/cmdline`;
  if (pid && existsSync(line) && readFileSync(line, 'utf8').includes(folder)) process.kill(pid, 'SIGKILL');
}
