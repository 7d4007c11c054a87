// Locks between processes that the kernel gives back when their holder dies, whatever killed it.
//
// Node offers no flock, but the SQLite inside it takes fcntl locks on whatever file it opens, and an empty file is a
// valid database that no lock ever writes to. Weighed against the others:
// - a file with a pid and a start time must be judged and taken over by whoever finds it: two takers can race, pids are
//   reused, and a container's pids mean nothing outside it;
// - a listening socket needs a name shorter than a deep folder's path, or an abstract one, which only Linux has, which
//   any user of the machine can squat, and which belongs to a network, not to the folder it is to protect.
// These locks hang on the file itself and know shared from exclusive, so that membership needs no list of pids.
//
// One trap comes with fcntl: a process that opens and closes such a file by other means drops its own locks on it.
import { closeSync, openSync, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { EmbeddedError } from './error.ts';

const SQLITE_BUSY = 5;
const POLL_MS = 20;

// A lock whose owner forgot it must not vanish with the garbage: SQLite closes, and so unlocks, a collected file.
const open = new Set<LockFile>();

/** A lock is an open transaction on the file: one that only reads is a share. */
export class LockFile {
  readonly path: string;
  readonly #file: DatabaseSync;
  readonly #inode: number;
  #nameless = false;

  /** Opens the file, makes it if need be, and locks nothing yet. Its folder must exist. Throws EmbeddedError. */
  constructor(path: string) {
    this.path = path;
    makePrivate(path);
    try {
      this.#file = new DatabaseSync(path, { timeout: 0 });
      this.#inode = statSync(path).ino;
    } catch (error) {
      throw new EmbeddedError(
        `cannot open the lock ${path} (${String(error)}): does the folder belong to another user?`,
      );
    }
    open.add(this);
  }

  /** Takes the whole lock, or answers false if any process, or another LockFile of this one, holds a part of it. */
  tryExclusive(): boolean {
    return this.#try('begin exclusive');
  }

  /** Takes a share, or answers false while another holds the lock exclusively. */
  tryShared(): boolean {
    return this.#try('begin; select 1 from sqlite_schema');
  }

  /** Waits its turn for the whole lock. `onWait` is called once if that takes more than 2 seconds. */
  async exclusive(options: { timeoutMs: number; onWait?: () => void }): Promise<void> {
    const began = Date.now();
    let told = false;
    while (!this.tryExclusive()) {
      const waited = Date.now() - began;
      if (waited > options.timeoutMs) {
        throw new EmbeddedError(
          `another process has held ${this.path} for over ${options.timeoutMs / 1000} s`,
        );
      }
      if (!told && waited > 2_000) {
        told = true;
        options.onWait?.();
      }
      await sleep(POLL_MS);
    }
  }

  /** Whether the file still goes by its name: false once its folder was deleted, even if it was made anew. */
  isInPlace(): boolean {
    return statSync(this.path, { throwIfNoEntry: false })?.ino === this.#inode;
  }

  unlock(): void {
    if (this.#file.isTransaction) this.#file.exec('rollback');
  }

  /** Unlocks and closes; the object is of no use afterwards. */
  close(): void {
    if (open.delete(this)) this.#file.close();
  }

  #try(statement: string): boolean {
    try {
      // Without a journal on disk SQLite has no need of the file's name, and locks a deleted file, too. Busy: so are we.
      if (!this.#nameless) this.#file.exec('pragma journal_mode = memory');
      this.#nameless = true;
      this.#file.exec(statement);
      return true;
    } catch (error) {
      this.unlock();
      if (error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === SQLITE_BUSY)
        return false;
      throw new EmbeddedError(`cannot lock ${this.path}: ${String(error)}`);
    }
  }
}

/** Who may read a file may lock it: only its owner shall. An existing file is left alone, see the trap above. */
function makePrivate(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch {
    // It exists, or SQLite will say why it cannot.
  }
}
