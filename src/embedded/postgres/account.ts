// PostgreSQL refuses to run as root: then it runs as the system's `postgres` user, made if it is missing.
import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import type { Account } from '../command.ts';
import { plainEnvironment, run } from '../command.ts';
import { EmbeddedError } from '../error.ts';

/**
 * Who runs the cluster: ourselves (null), unless we are root. Then the owner of its data folder where there is one
 * (a cluster made before `sudo`), else `postgres`, else the user of no rights that every system has.
 */
export async function clusterAccount(dataFolder: string | null): Promise<Account> {
  if (process.getuid?.() !== 0) return null;
  const made = dataFolder === null ? undefined : statSync(dataFolder, { throwIfNoEntry: false });
  if (made && made.uid !== 0) return { uid: made.uid, gid: made.gid };
  const found = lookUp('postgres') ?? (await makeUser()) ?? lookUp('nobody');
  if (found) return found;
  throw new EmbeddedError(
    'PostgreSQL does not run as root, and no user could be made for it: add one named postgres',
  );
}

async function makeUser(): Promise<Account> {
  const options = ['--system', '--user-group', '--no-create-home', '--home-dir', '/nonexistent'];
  await run('useradd', [...options, '--shell', '/usr/sbin/nologin', 'postgres']);
  // Looked up whatever the answer was: another start may have made it in the same moment.
  return lookUp('postgres');
}

function lookUp(name: string): Account {
  const ask = (flag: string) =>
    Number(execFileSync('id', [flag, name], { env: plainEnvironment(), stdio: 'pipe' }));
  try {
    return { uid: ask('-u'), gid: ask('-g') };
  } catch {
    return null;
  }
}
