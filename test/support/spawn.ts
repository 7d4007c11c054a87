// Roles as processes of their own, which can be killed, frozen and drained.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Installation } from './installation.ts';
import { diesWithUs } from './undertaker.ts';

export interface Role {
  pid: number;
  /** Of an API: where it listens. */
  url: string;
  /** What it logged, newest last. */
  log: string[];
  signal(signal: NodeJS.Signals): void;
  /** Resolves with its exit code, or the signal that ended it. */
  ended: Promise<number | string>;
  /** SIGKILL, and waits. */
  kill(): Promise<void>;
  /** SIGTERM, and waits; answers the exit code. */
  drain(): Promise<number | string>;
}

/** As the commands of package.json run the roles: the heap is kept small, and collected sooner. */
export const HEAP = ['--max-semi-space-size=16', '--max-old-space-size=512'];

export function spawnApi(installation: Installation, env: Record<string, string> = {}): Promise<Role> {
  return spawnRole(installation, { file: 'src/api/main.ts', args: [], ready: /API at (http\S+?)"/, env });
}

export function spawnWorker(
  installation: Installation,
  {
    env = {},
    queues,
    concurrency = 50,
  }: { env?: Record<string, string>; queues?: string; concurrency?: number } = {},
): Promise<Role> {
  const args = ['--concurrency', String(concurrency), ...(queues ? ['--queues', queues] : [])];
  return spawnRole(installation, { file: 'src/workers/main.ts', args, ready: /the worker takes jobs/, env });
}

interface Start {
  file: string;
  args: string[];
  ready: RegExp;
  env: Record<string, string>;
}

async function spawnRole(installation: Installation, { file, args, ready, env }: Start): Promise<Role> {
  const path = fileURLToPath(new URL(`../../${file}`, import.meta.url));
  const child = spawn(process.execPath, [...HEAP, path, ...args], {
    env: { PATH: process.env['PATH'] ?? '', ...installation.env, LOG_LEVEL: 'info', ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  diesWithUs(child);
  const log: string[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (log.push(line) > 5_000) log.shift();
    const match = ready.exec(line);
    if (match) resolve(match[1] ?? '');
  });
  const ended = once(child, 'exit').then(([code, signal]) => {
    reject(new Error(`${file} ended before it was ready: ${log.slice(-5).join('\n')}`));
    return (code ?? signal) as number | string;
  });
  const url = await promise;
  return {
    pid: child.pid as number,
    url,
    log,
    ended,
    signal: (signal) => void child.kill(signal),
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
    async drain() {
      child.kill('SIGTERM');
      return ended;
    },
  };
}
