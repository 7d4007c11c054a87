// One run of a program: its time, its memory, its output are bounded, and it ends when it is told to, with all that it
// started. What it writes to stderr may hold a prompt: nothing of that leaves this file but words of our own.
import { type ChildProcess, spawn } from 'node:child_process';
import { constants, setPriority } from 'node:os';
import type { Writable } from 'node:stream';
import { type Guards, groupMemory, guarded, type Limits, sizeOf, SYSTEM_PATH } from './limits.ts';

export interface Task {
  program: string;
  args: string[];
  /** Where it runs, and where everything is that it may write. */
  folder: string;
  /** Its PATH, for what it may need itself. */
  path: string;
  stdin: string | null;
  limits: Limits;
  signal: AbortSignal;
}

export interface Ended {
  /** `unstarted`: no process could be made. */
  cause: 'exited' | 'stopped' | 'timeout' | 'memory' | 'too_large' | 'unstarted';
  /** Whether there ever was a process. */
  ran: boolean;
  code: number | null;
  signal: string | null;
  stdout: Buffer;
  /** What its stderr hints at, in words of ours. */
  hint: string | null;
  /** Ms to its first byte on stdout. */
  firstByteMs: number | null;
}

const LOOK_MS = 250;
/** How long its last words may be on their way once it has ended. */
const LINGER_MS = 1_000;
const STDERR_TAIL = 4_096;

/** Of a program that was never run. */
export const unrun = (cause: 'stopped' | 'unstarted'): Ended => ({
  cause,
  ran: false,
  code: null,
  signal: null,
  stdout: Buffer.alloc(0),
  hint: null,
  firstByteMs: null,
});

/** Never rejects. Once it resolves, its process group has been killed. */
export async function runProgram(task: Task, guards: Guards | null): Promise<Ended> {
  if (task.signal.aborted) return unrun('stopped');
  const { command, words } = guarded(task, guards);
  let child: ChildProcess;
  try {
    child = spawn(command, words, {
      cwd: task.folder,
      env: environment(task),
      // The leader of a group of its own, which can be killed whole, and which our terminal's signals do not reach.
      detached: true,
      stdio: [task.stdin === null ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    });
  } catch {
    return unrun('unstarted');
  }
  return watched(child, task);
}

function watched(child: ChildProcess, { limits, signal, folder, stdin }: Task): Promise<Ended> {
  const { promise, resolve } = Promise.withResolvers<Ended>();
  const began = performance.now();
  let cause: Ended['cause'] | null = null;
  let exit: { code: number | null; signal: string | null } = { code: null, signal: null };
  const chunks: Buffer[] = [];
  let bytes = 0;
  let firstByteMs: number | null = null;
  let tail = '';
  const given = sizeOf(folder);

  const kill = (why: Ended['cause']): void => {
    cause ??= why;
    killGroup(child);
  };
  const onAbort = (): void => kill('stopped');
  const late = setTimeout(() => kill('timeout'), limits.ms);
  const look = setInterval(() => {
    if (groupMemory(child.pid ?? 0) > limits.memoryBytes) kill('memory');
    else if (sizeOf(folder) > given + limits.outputBytes) kill('too_large');
  }, LOOK_MS);
  signal.addEventListener('abort', onAbort, { once: true });

  const settle = (fallback: Ended['cause']): void => {
    clearTimeout(late);
    clearInterval(look);
    signal.removeEventListener('abort', onAbort);
    // The kernel's own word for a file that grew too large (limits.ts).
    if (exit.signal === 'SIGXFSZ') cause ??= 'too_large';
    const stdout = Buffer.concat(chunks);
    const ran = child.pid !== undefined;
    resolve({ cause: cause ?? fallback, ran, ...exit, stdout, hint: hintOf(tail), firstByteMs });
  };

  child.stdout?.on('data', (chunk: Buffer) => {
    firstByteMs ??= Math.round(performance.now() - began);
    bytes += chunk.length;
    if (bytes > limits.outputBytes) return kill('too_large');
    chunks.push(chunk);
  });
  child.stderr?.setEncoding('latin1').on('data', (chunk: string) => {
    tail = (tail + chunk).slice(-STDERR_TAIL);
  });
  if (stdin !== null) feed(child.stdin, stdin);
  child.once('error', () => {
    if (child.pid === undefined) settle('unstarted');
  });
  child.once('exit', (code, ending) => {
    exit = { code, signal: ending };
    // What it started is over with it; and one that left the group could hold the pipes open for ever.
    killGroup(child);
    setTimeout(() => [child.stdout, child.stderr].forEach((pipe) => pipe?.destroy()), LINGER_MS).unref();
  });
  child.once('close', () => settle('exited'));
  lowerPriority(child);
  return promise;
}

/** A program may end without having read all, or anything. */
function feed(into: Writable | null, text: string): void {
  into?.on('error', () => {});
  into?.end(text);
}

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // There is nobody left.
  }
}

/** The platform answers its clients first. */
function lowerPriority({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) setPriority(pid, constants.priority.PRIORITY_BELOW_NORMAL);
  } catch {
    // It has ended, or the system knows no priorities.
  }
}

/** Nothing of ours: no address, no key, no NODE_OPTIONS. */
function environment({ path, folder }: Task): Record<string, string> {
  return { PATH: `${path}:${SYSTEM_PATH}`, HOME: folder, TMPDIR: folder, LANG: 'C.UTF-8', TZ: 'UTC' };
}

const HINTS: [RegExp, string][] = [
  [/out of memory|bad_alloc|cannot allocate memory|failed to allocate/i, 'out of memory'],
  [/error while loading shared libraries/i, 'a library is missing'],
  [/no such file|(cannot|can't|failed to|could not|unable to) (open|load|find|read)/i, 'a file is missing'],
  [/illegal instruction/i, 'it is built for another CPU'],
  [/(unknown|invalid|unrecognized|unsupported) (option|argument|flag)/i, 'it does not know an option'],
];

function hintOf(stderr: string): string | null {
  return HINTS.find(([pattern]) => pattern.test(stderr))?.[1] ?? null;
}
