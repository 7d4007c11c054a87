// A data folder for one test, and what its services look like from outside.
import { readFileSync } from 'node:fs';
import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stopEmbedded } from '../../src/embedded/join.ts';
import { knownHome } from '../../src/embedded/postgres/home.ts';
import type { Postmaster } from '../../src/embedded/postgres/server.ts';
import { findPostmaster } from '../../src/embedded/postgres/server.ts';
import type { Member } from './process.ts';
import { alive, startMember } from './process.ts';

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
      const pid: number = said ? JSON.parse(said.split('\n')[0] ?? '').pid : 0;
      return pid && alive(pid) ? pid : null;
    },
    quiet,
    remove: async () => {
      await quiet();
      await rm(root, { recursive: true, force: true });
    },
  };
}
