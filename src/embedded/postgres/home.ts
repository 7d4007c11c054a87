// Where a data folder's cluster lives: inside it, unless we are root and PostgreSQL's user cannot get there.
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Account } from '../command.ts';
import { run } from '../command.ts';
import { EmbeddedError } from '../error.ts';
import { SHARED_FOLDER } from './binaries.ts';

const POINTER = 'postgres.at';

/** Written into the data folder when the cluster is elsewhere. `of` tells a moved folder from a copied one. */
interface Pointer {
  home: string;
  of: string;
}

/** The home as it was settled before, or null before the first start. `folder` is `<data folder>/embedded`, a real path. */
export function knownHome(folder: string): string | null {
  const local = join(folder, 'postgres');
  if (existsSync(local)) return local;
  const pointer = readPointer(folder);
  if (!pointer) return null;
  if (pointer.of !== folder) adopt(folder, pointer);
  return pointer.home;
}

/**
 * Settles where the cluster will be made; `account` is who will run it. A home elsewhere has a random name, so that
 * whoever deletes the data folder gets a new cluster, and is written down before anything is put there.
 */
export async function newHome(folder: string, account: Account): Promise<string> {
  if (!account || (await canEnter(folder, account))) return join(folder, 'postgres');
  mkdirSync(SHARED_FOLDER, { recursive: true });
  chmodSync(SHARED_FOLDER, 0o755);
  const home = join(SHARED_FOLDER, `${prefix(folder)}${randomBytes(4).toString('hex')}`);
  writePointer(folder, { home, of: folder });
  return home;
}

/** Clusters that were made for this folder before it was deleted. Nobody points to them any more. */
export function abandonedHomes(folder: string, home: string): string[] {
  if (dirname(home) !== SHARED_FOLDER) return [];
  const names = readdirSync(SHARED_FOLDER).filter(
    (name) => name.startsWith(prefix(folder)) && !name.includes('.'),
  );
  return names.filter((name) => name !== basename(home)).map((name) => join(SHARED_FOLDER, name));
}

const prefix = (folder: string) => `${createHash('sha256').update(folder).digest('hex').slice(0, 12)}-`;

/** Whether the account may enter the folder, as the system sees it (ACLs and mounts included). */
export async function canEnter(folder: string, account: Account): Promise<boolean> {
  return (await run('/bin/sh', ['-c', 'cd -- "$1"', 'sh', folder], account)).ok;
}

function adopt(folder: string, pointer: Pointer): void {
  if (readPointer(pointer.of)?.home === pointer.home) {
    throw new EmbeddedError(
      `${folder} is a copy of ${pointer.of}, whose database lives in ${pointer.home}: delete the copy to start afresh`,
    );
  }
  writePointer(folder, { home: pointer.home, of: folder });
}

function readPointer(folder: string): Pointer | null {
  const file = join(folder, POINTER);
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : null;
}

function writePointer(folder: string, pointer: Pointer): void {
  const file = join(folder, POINTER);
  writeFileSync(`${file}.partial`, `${JSON.stringify(pointer)}\n`, { flush: true });
  renameSync(`${file}.partial`, file);
}
