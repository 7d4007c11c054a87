// Running a short-lived program to its end, out of reach of our terminal's signals.
import { spawn } from 'node:child_process';

/** The user that a program runs as; null is ourselves. */
export type Account = { uid: number; gid: number } | null;

export interface Finished {
  ok: boolean;
  /** What it wrote to stdout. */
  output: string;
  /** What it wrote to stderr, or why it could not be started. */
  errors: string;
}

/** A small environment: a stray PGPORT, PGDATA or NODE_OPTIONS of ours would change what the program does. */
export function plainEnvironment(): Record<string, string> {
  const path = process.env.PATH ?? '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
  return { PATH: path, LC_ALL: 'C', TZ: 'UTC' };
}

/**
 * Runs a program in a session of its own, so that Ctrl-C on our terminal cannot stop it half-way.
 * Never rejects: a program that cannot be started is one that failed.
 */
export async function run(command: string, args: string[], account: Account = null): Promise<Finished> {
  const { promise, resolve } = Promise.withResolvers<Finished>();
  const child = spawn(command, args, {
    ...account,
    // The account may not be allowed into our working directory.
    cwd: '/',
    env: plainEnvironment(),
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (errors += chunk));
  child.once('error', (error) => resolve({ ok: false, output, errors: error.message }));
  child.once('close', (code) => resolve({ ok: code === 0, output, errors }));
  return promise;
}
