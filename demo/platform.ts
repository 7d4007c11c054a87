// The platform that the demo talks to: one of its own, started as a child process, or one that runs already.
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { VARIABLES } from '../src/config.ts';

export interface Platform {
  url: string;
  adminKey: string;
  /** Rejects if it ends before it was asked to. */
  lost: Promise<never>;
  /** Asks it to stop, and waits until it has. @throws Error if it did not end well */
  stop(): Promise<void>;
}

/** What a platform tells while it runs. */
export interface Listener {
  /** A step of its start. */
  step(text: string): void;
  /** Something is wrong. */
  trouble(text: string): void;
  /** Aborted: it shall stop. */
  signal: AbortSignal;
}

/** Where the demo's webhooks are received. */
export const HOST = '127.0.0.1';

/** A little over what a platform allows itself. */
const STOP_MS = 30_000;

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/**
 * Runs `node src/main.ts` on a free port and on embedded engines alone, whatever the environment names.
 * @throws Error if it does not start; it has told the listener why
 */
export async function startPlatform(listener: Listener): Promise<Platform> {
  const dataDir = resolve(process.env['MILLRACE_DATA_DIR'] || VARIABLES.MILLRACE_DATA_DIR.default);
  const child = spawn(process.execPath, ['--import', path('tether.ts'), path('../src/main.ts')], {
    env: { ...withoutSettings(), MILLRACE_DATA_DIR: dataDir, PORT: '0', EGRESS_ALLOW: HOST },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  }) as ChildProcessByStdio<null, null, Readable>;
  const address = Promise.withResolvers<string>();
  const lost = Promise.withResolvers<never>();
  for (const { promise } of [address, lost]) promise.catch(() => {});
  let asked = false;
  // What it says of calls that its stop broke off matters only if that stop goes wrong.
  const lastWords: string[] = [];
  child.once('error', address.reject);
  createInterface({ input: child.stderr }).on('line', (line) => {
    const { text, grave } = readLog(line);
    const url = /^Millrace is at (\S+),/.exec(text)?.[1];
    if (url) return address.resolve(url);
    if (!grave) listener.step(text);
    else if (asked) lastWords.push(text);
    else listener.trouble(text);
  });
  const ended = once(child, 'close').then(([code, signal]) => {
    if (code !== 0) lastWords.forEach(listener.trouble);
    const error = new Error(`The platform ended with ${signal ?? `code ${code}`}; above is what it said.`);
    address.reject(error);
    if (!asked) lost.reject(error);
    return asked && code !== 0 ? error : null;
  });

  // Once only, and at once: of a Ctrl-C it has heard already, and a second wish later would not let it end in peace.
  const ask = (): void => {
    if (asked) return;
    asked = true;
    child.kill('SIGTERM');
    setTimeout(() => child.kill('SIGKILL'), STOP_MS).unref();
  };
  const stop = async (): Promise<void> => {
    ask();
    const error = await ended;
    if (error) throw error;
  };
  listener.signal.addEventListener('abort', ask, { once: true });
  try {
    const url = await address.promise;
    const { admin_key: adminKey } = await readCredentials(join(dataDir, 'credentials.json'));
    return { url, adminKey, lost: lost.promise, stop };
  } catch (error) {
    await stop().catch(() => {});
    throw error;
  }
}

/** One that runs already, as its credentials.json names it. */
export async function attachPlatform(file: string): Promise<Platform> {
  const { base_url: url, admin_key: adminKey } = await readCredentials(file);
  return { url, adminKey, lost: new Promise(() => {}), stop: async () => {} };
}

/** The environment without what Millrace would read in it. */
function withoutSettings(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !(name in VARIABLES)));
}

async function readCredentials(file: string): Promise<{ base_url: string; admin_key: string }> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new Error(
      `${file} cannot be read (${(error as { code?: string }).code}). The first start of a platform writes it into its data folder; to begin anew, name another with MILLRACE_DATA_DIR.`,
      { cause: error },
    );
  }
  const { base_url, admin_key } = JSON.parse(text) as { base_url: string; admin_key: string };
  return { base_url, admin_key };
}

/** A line of the platform's log, or of somebody who does not write one. */
function readLog(line: string): { text: string; grave: boolean } {
  try {
    const { level, msg, ...rest } = JSON.parse(line) as { level: string; msg: string } & Record<
      string,
      unknown
    >;
    const grave = ['warn', 'error', 'fatal'].includes(level);
    const { time: _time, pid: _pid, ...facts } = rest;
    return { text: grave && Object.keys(facts).length > 0 ? `${msg} ${JSON.stringify(facts)}` : msg, grave };
  } catch {
    return { text: line.replace(/^millrace: /, ''), grave: true };
  }
}
