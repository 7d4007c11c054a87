// Folders for what a test run starts. The kernel tells which runs are dead: they no longer hold their folder's lock.
import { chmodSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Account } from '../../src/embedded/command.ts';
import { LockFile } from '../../src/embedded/lock.ts';
import { canEnter } from '../../src/embedded/postgres/home.ts';

export interface Scratch {
  /** A real path that other users may enter, but not list or write to. */
  folder: string;
  /** Deletes the folder. */
  drop(): void;
}

type Stop = (folder: string) => Promise<void>;

/**
 * A new folder of this process, which `account` can enter. First those of dead processes are cleared:
 * `stopLeftover` ends what may still run there, then they are deleted.
 */
export async function takeScratch(kind: string, account: Account, stopLeftover: Stop): Promise<Scratch> {
  const base = await baseFolder(account);
  const turn = new LockFile(join(base, 'mutex'));
  try {
    await turn.exclusive({ timeoutMs: 60_000 });
    for (const name of readdirSync(base)) {
      if (name.startsWith(`${kind}-`)) await clear(join(base, name), stopLeftover);
    }
    const folder = mkdtempSync(join(base, `${kind}-`));
    chmodSync(folder, 0o711);
    const alive = new LockFile(join(folder, 'alive'));
    alive.tryExclusive();
    const drop = () => {
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
      alive.close();
    };
    return { folder, drop };
  } finally {
    turn.close();
  }
}

async function clear(folder: string, stopLeftover: Stop): Promise<void> {
  const alive = new LockFile(join(folder, 'alive'));
  try {
    if (!alive.tryExclusive()) return;
    await stopLeftover(folder);
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  } finally {
    alive.close();
  }
}

/** One a user, so that users of one machine do not meet. */
async function baseFolder(account: Account): Promise<string> {
  const parent = realpathSync((await canEnter(tmpdir(), account)) ? tmpdir() : '/var/tmp');
  const me = process.getuid?.() ?? 0;
  const base = join(parent, `millrace-tests-${me}`);
  mkdirSync(base, { recursive: true });
  if (lstatSync(base).uid !== me) throw new Error(`${base} belongs to another user: delete it`);
  chmodSync(base, 0o711);
  return realpathSync(base);
}
