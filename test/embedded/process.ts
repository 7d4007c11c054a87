// Runs a member (member.ts) as a process of its own, and asks the system about processes.
import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Command, Reply } from './member.ts';

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));
export const SIM = path('standin-sim.ts');

export interface Member {
  child: ChildProcess;
  ask(command: Command): Promise<Reply>;
  /** Joins; fails the test with the member's own words if it cannot. */
  join(): Promise<{ databaseUrl: string; simUrl: string }>;
  leave(): Promise<void>;
  kill(): Promise<void>;
}

/** A process that can join and leave the services of `dataDir` on command; a leader of its own group if `leads`. */
export function startMember(dataDir: string, options: { leads?: boolean; simMain?: string } = {}): Member {
  const child = fork(path('member.ts'), [dataDir, options.simMain ?? SIM], {
    detached: options.leads ?? false,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const ask = async (command: Command): Promise<Reply> => {
    const { promise, resolve } = Promise.withResolvers<Reply>();
    const gone = () => resolve({ error: 'the member died' });
    child.once('message', (reply: Reply) => resolve(reply)).once('exit', gone);
    if (child.connected) child.send(command, (error) => error && gone());
    else gone();
    const reply = await promise;
    child.removeListener('exit', gone);
    return reply;
  };
  const must = async (command: Command): Promise<Reply> => {
    const reply = await ask(command);
    if ('error' in reply && reply.error) throw new Error(`${command}: ${reply.error}`);
    return reply;
  };
  return {
    child,
    ask,
    join: async () => {
      const { databaseUrl = '', simUrl = '' } = await must('join');
      return { databaseUrl, simUrl };
    },
    leave: async () => void (await must('leave')),
    kill: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
    },
  };
}

/** False for a zombie, too: what has ended may wait long for a parent that asks. */
export function alive(pid: number): boolean {
  try {
    return stat(pid).state !== 'Z';
  } catch {
    return false;
  }
}

/** Of `/proc/<pid>/stat`, counted after the name, which may hold anything. */
export function stat(pid: number): { state: string; parent: number; group: number; session: number } {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  const [parent = 0, group = 0, session = 0] = fields.slice(1, 4).map(Number);
  return { state: fields[0] ?? '', parent, group, session };
}

/** Waits until a condition of the outside world holds. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 15_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`still not so after 15 s: ${what}`);
    await sleep(2);
  }
}
