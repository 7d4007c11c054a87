// Where a data folder's cluster lives: inside it, unless we are root and PostgreSQL's user cannot get there.
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { Account } from '../command.ts';
import { run } from '../command.ts';
import { EmbeddedError } from '../error.ts';
import { SHARED_FOLDER } from './binaries.ts';

/** In the data folder: the path of a home that is elsewhere. */
const POINTER = 'postgres.at';
/** In such a home: the folder it belongs to, which tells a folder that was moved from one that was copied. */
const BACK = 'belongs.to';

/** The home as it was settled before, or null before the first start. `folder` is `<data folder>/embedded`, a real path. */
export function knownHome(folder: string): string | null {
  const local = join(folder, 'postgres');
  if (existsSync(local)) return local;
  const home = readWord(join(folder, POINTER));
  const owner = home && readWord(join(home, BACK));
  if (owner && owner !== folder && readWord(join(owner, POINTER)) === home) {
    throw new EmbeddedError(
      `${folder} is a copy of ${owner}, whose database lives in ${home}: delete the copied folder to start afresh`,
    );
  }
  return home;
}

/**
 * Settles where the cluster will be made; `account` is who will run it. A home elsewhere has a random name, so that
 * whoever deletes the data folder gets a new cluster, and is written down before anything is put there.
 */
export async function newHome(folder: string, account: Account): Promise<string> {
  if (!account || (await canEnter(folder, account))) return join(folder, 'postgres');
  mkdirSync(SHARED_FOLDER, { recursive: true });
  chmodSync(SHARED_FOLDER, 0o755);
  const home = join(SHARED_FOLDER, `cluster-${randomBytes(6).toString('hex')}`);
  writeWord(join(folder, POINTER), home);
  return home;
}

/** Notes whose home it is, once it stands there. Answers the homes of folders of that name that were deleted. */
export function claimHome(folder: string, home: string): string[] {
  if (dirname(home) !== SHARED_FOLDER) return [];
  if (readWord(join(home, BACK)) !== folder) writeWord(join(home, BACK), folder);
  const homes = readdirSync(SHARED_FOLDER).map((name) => join(SHARED_FOLDER, name));
  return homes.filter((other) => other !== home && readWord(join(other, BACK)) === folder);
}

/** Whether the account may enter the folder, as the system sees it (ACLs and mounts included). */
export async function canEnter(folder: string, account: Account): Promise<boolean> {
  return (await run('/bin/sh', ['-c', 'cd -- "$1"', 'sh', folder], account)).ok;
}

function readWord(file: string): string | null {
  return existsSync(file) ? readFileSync(file, 'utf8').trimEnd() : null;
}

function writeWord(file: string, word: string): void {
  writeFileSync(`${file}.partial`, `${word}\n`, { flush: true });
  renameSync(`${file}.partial`, file);
}
