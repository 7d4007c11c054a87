// A data folder for one test, and what its services look like from outside.
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { stopEmbedded } from '../../src/embedded/join.ts';
import { knownHome } from '../../src/embedded/postgres/home.ts';
import type { Postmaster } from '../../src/embedded/postgres/server.ts';
import { findPostmaster } from '../../src/embedded/postgres/server.ts';
import type { Member } from './process.ts';
import { alive, startMember } from './process.ts';
import { stopsWithUs } from '../support/undertaker.ts';

export interface Folder {
  dataDir: string;
  member(options?: { leads?: boolean; simMain?: string }): Member;
  /** Where the cluster is. */
  home(): string;
  postmaster(): Promise<Postmaster | null>;
  /** The simulator's pid, or null if it does not run. */
  sim(): number | null;
  /** Kills the members and stops the services; the cluster stays for the next test. */
  quiet(): Promise<void>;
  remove(): Promise<void>;
}

export async function dataFolder(at?: string): Promise<Folder> {
  // mkdtemp closes the folder to all others, PostgreSQL's user among them.
  const root = at ?? (await mkdtemp(join(await realpath(tmpdir()), 'millrace-embedded-')));
  if (!at) await chmod(root, 0o755);
  const dataDir = join(root, 'data');
  const spare = stopsWithUs('embedded', root);
  const members: Member[] = [];
  const home = () => knownHome(join(dataDir, 'embedded')) ?? join(dataDir, 'embedded', 'postgres');
  const quiet = async (): Promise<void> => {
    await Promise.all(members.splice(0).map((member) => member.kill()));
    await stopEmbedded(dataDir);
  };
  return {
    dataDir,
    member: (options) => {
      const member = startMember(dataDir, options);
      members.push(member);
      return member;
    },
    home,
    postmaster: () => findPostmaster(home()),
    sim: () => {
      const said = readFileSync(join(dataDir, 'embedded', 'sim.out'), 'utf8');
      const pid = Number(/^\{"pid":(\d+)/m.exec(said)?.[1]);
      return pid && alive(pid) ? pid : null;
    },
    quiet,
    remove: async () => {
      await quiet();
      await rm(root, { recursive: true, force: true });
      spare();
    },
  };
}

export async function ask<Row extends object>(databaseUrl: string, text: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  try {
    await client.connect();
    return (await client.query<Row>(text)).rows;
  } finally {
    await client.end();
  }
}

/** The pids of all processes whose command line has the words; its arguments are parted by NUL. */
export function processesNaming(words: string): number[] {
  const pids = readdirSync('/proc').map(Number).filter(Boolean);
  return pids.filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(words);
    } catch {
      return false;
    }
  });
}

/** With owners and modes, which Node's copy does not keep. */
export async function copyAll(from: string, to: string): Promise<void> {
  await promisify(execFile)('cp', ['-a', from, to]);
}
