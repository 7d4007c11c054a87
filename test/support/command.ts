// A command as a person runs it: a process of its own under plain Node, what it said, and how it ended.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { diesWithUs } from './undertaker.ts';

export interface Command {
  pid: number;
  /** The lines it wrote. */
  out: string[];
  err: string[];
  /** The first line, of stdout or stderr, that matches; the command's end without one is an error. */
  said(pattern: RegExp): Promise<RegExpExecArray>;
  /** Its exit code, or the signal that ended it. */
  ended: Promise<number | string>;
  signal(signal: NodeJS.Signals): void;
}

export interface CommandOptions {
  env?: Record<string, string>;
  /** Default: the project's root. */
  cwd?: string;
  /** Makes it the leader of a process group, which can be signalled as a terminal does. */
  leads?: boolean;
}

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** `node <args>`: a file is named from the project's root. */
export function runNode([file = '', ...args]: string[], options: CommandOptions = {}): Command {
  return run(process.execPath, [`${ROOT}${file}`, ...args], options);
}

export function run(
  program: string,
  args: string[],
  { env = {}, cwd = ROOT, leads = false }: CommandOptions,
): Command {
  const { PATH = '', HOME = '', TMPDIR } = process.env;
  const child = spawn(program, args, {
    cwd,
    env: { PATH, HOME, ...(TMPDIR === undefined ? {} : { TMPDIR }), ...env },
    detached: leads,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  diesWithUs(child, { group: leads });
  const out: string[] = [];
  const err: string[] = [];
  const all: string[] = [];
  let closed = false;
  let heard = Promise.withResolvers<void>();
  const tell = (): void => {
    heard.resolve();
    heard = Promise.withResolvers();
  };
  for (const [stream, lines] of [
    [child.stdout, out],
    [child.stderr, err],
  ] as const) {
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line);
      all.push(line);
      tell();
    });
  }
  const ended = once(child, 'close').then(([code, signal]) => {
    closed = true;
    tell();
    return (code ?? signal) as number | string;
  });
  return {
    pid: child.pid as number,
    out,
    err,
    ended,
    signal: (signal) => void (leads ? process.kill(-(child.pid as number), signal) : child.kill(signal)),
    async said(pattern) {
      for (;;) {
        for (const line of all) {
          const match = pattern.exec(line);
          if (match) return match;
        }
        if (closed) throw new Error(`it ended without saying ${pattern}:\n${all.slice(-20).join('\n')}`);
        await heard.promise;
      }
    },
  };
}
