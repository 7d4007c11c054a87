// What is known of the simulator, in `sim.out`: one JSON object a line.
// - `{"start","port"}` comes first, from whoever starts one: a word of his own, and the port he gave it;
// - `{"pid"}`, from the process that was given this word, once it holds the lock (sim-hold.ts);
// - `{"sim_url"}`, from the simulator, once it listens;
// - `{"stopping"}`, from whoever stops it, before the signal: he may be killed before it has taken effect.
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { errorCode } from './error.ts';

export interface Words {
  port: number | null;
  pid: number | null;
  url: string | null;
  stopping: boolean;
}

export function readWords(file: string): Words {
  const words: Words = { port: null, pid: null, url: null, stopping: false };
  // The last piece is a line that is still being written.
  for (const line of readText(file).split('\n').slice(0, -1)) {
    const said = parse(line);
    if (typeof said.port === 'number') words.port ??= said.port;
    if (typeof said.pid === 'number') words.pid ??= said.pid;
    if (typeof said.sim_url === 'string') words.url ??= said.sim_url;
    if (said.stopping === true) words.stopping = true;
  }
  return words;
}

/** Begins the file anew, in place: processes may have it open. Only for who holds the simulator's lock. */
export function beginWords(file: string, start: string | null, port: number | null): void {
  writeFileSync(file, `${JSON.stringify({ start, port })}\n`, { mode: 0o600 });
}

/** Whether the file was begun with this word. */
export const beganWith = (file: string, start: string) =>
  parse(readText(file).split('\n')[0] ?? '').start === start;

export function sayStopping(file: string): void {
  appendFileSync(file, `${JSON.stringify({ stopping: true })}\n`, { mode: 0o600 });
}

/** Empty if there is no such file. */
export function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return '';
    throw error;
  }
}

type Said = { start?: unknown; port?: unknown; pid?: unknown; sim_url?: unknown; stopping?: unknown };

/** A simulator may print what is no JSON. */
function parse(line: string): Said {
  try {
    return Object(JSON.parse(line));
  } catch {
    return {};
  }
}
