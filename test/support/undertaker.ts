// What a test starts ends with the test, however that ends: a runner that is killed cannot clean up, and nobody else
// would know what was its.
import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';

/** Takes back what was asked for. */
export type Spare = () => void;

/**
 * Has a shell run `script`, with the words as `$1`, `$2`, …, once this process is gone. The shell waits for the end of a
 * pipe whose other end is ours alone, and which the kernel closes with us. It leads a session of its own: what is
 * signalled to our group does not reach it. The processes that are watched know nothing of it.
 */
export function afterDeath(script: string, ...words: string[]): Spare {
  const shell = spawn('/bin/sh', ['-c', `read -r spared && exit\n${script}`, 'undertaker', ...words], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: '/',
  });
  // It must keep nobody from ending.
  shell.unref();
  (shell.stdin as Socket).unref();
  shell.stdin.on('error', () => {});
  return () => void shell.stdin.end('spared\n');
}

/** The process is killed after our death, unless it ended before. @param options.group with all of the group it leads */
export function diesWithUs(child: ChildProcess, { group = false }: { group?: boolean } = {}): void {
  if (child.pid === undefined) return;
  const spare = afterDeath(group ? 'kill -9 -$1' : 'kill -9 $1', String(child.pid));
  child.once('exit', spare);
}

/** The folder is deleted after our death, a little later, so that those who write to it have gone. */
export function goesWithUs(folder: string): Spare {
  return afterDeath('sleep 1; rm -rf "$1"', folder);
}

/** As `goesWithUs`; first PostgreSQL or all embedded services there are stopped (bury.ts). */
export function stopsWithUs(what: 'postgres' | 'embedded', folder: string): Spare {
  const main = fileURLToPath(new URL('bury.ts', import.meta.url));
  return afterDeath('exec "$1" "$2" "$3" "$4"', process.execPath, main, what, folder);
}
