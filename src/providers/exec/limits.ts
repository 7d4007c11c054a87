// What is enforced where. By the kernel, where util-linux is installed: no process of a call writes a file beyond the
// output limit or has more than twice the memory limit, none gains rights, and all of them end with this process, even by
// `kill -9`. By looking four times a second, where there is /proc: the resident memory of the process group together.
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { which } from './find.ts';

export interface Limits {
  ms: number;
  /** Resident memory of all processes of a call. */
  memoryBytes: number;
  /** Of stdout, and of all files it writes. */
  outputBytes: number;
}

/** util-linux's programs, which set limits and then become the program they are given. */
export interface Guards {
  prlimit: string;
  setpriv: string;
}

/** Where a system keeps its own programs, whatever ENGINE_PATH says. */
export const SYSTEM_PATH = '/usr/local/bin:/usr/bin:/bin';
/** The first look at memory may come late for a program that is quick to take it. */
const KERNEL_FACTOR = 2;

/** Null: they are not installed, or too old, or may not be used here. */
export async function findGuards(path: string): Promise<Guards | null> {
  const [prlimit, setpriv] = ['prlimit', 'setpriv'].map((name) => which(name, `${path}:${SYSTEM_PATH}`));
  const program = which('true', `${path}:${SYSTEM_PATH}`);
  if (!prlimit || !setpriv || !program) return null;
  const task = { program, args: [], limits: { ms: 0, memoryBytes: 1 << 30, outputBytes: 1 << 20 } };
  const { command, words } = guarded(task, { prlimit, setpriv });
  return promisify(execFile)(command, words, { env: {}, cwd: '/' }).then(
    () => ({ prlimit, setpriv }),
    () => null,
  );
}

/** The command that runs the task, under the guards if there are any. One process all the way. */
export function guarded(
  { program, args, limits }: { program: string; args: string[]; limits: Limits },
  guards: Guards | null,
): { command: string; words: string[] } {
  if (!guards) return { command: program, words: args };
  const most = [
    `--data=${limits.memoryBytes * KERNEL_FACTOR}`,
    `--fsize=${limits.outputBytes}`,
    // A core file would hold the prompt.
    '--core=0',
  ];
  const ends = ['--pdeathsig', 'KILL', '--no-new-privs'];
  return { command: guards.prlimit, words: [...most, guards.setpriv, ...ends, program, ...args] };
}

/** Resident bytes of the processes in the group that `leader` leads; what they share counts for each. 0 without /proc. */
export function groupMemory(leader: number): number {
  let sum = 0;
  // Those that it started came after it, so others need not be looked at.
  for (const pid of processes().filter((one) => one >= leader)) {
    const stat = read(`/proc/${pid}/stat`);
    // The name in parentheses may hold anything; behind it come state, parent, group.
    const group = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2]);
    if (group !== leader) continue;
    sum += Number(/^VmRSS:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) * 1024;
  }
  return sum;
}

/** Bytes of all files in the folder itself. */
export function sizeOf(folder: string): number {
  let sum = 0;
  for (const name of entries(folder)) {
    try {
      sum += statSync(join(folder, name)).size;
    } catch {
      // Removed since.
    }
  }
  return sum;
}

const processes = (): number[] =>
  entries('/proc')
    .map(Number)
    .filter((pid) => pid > 0);

function entries(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
