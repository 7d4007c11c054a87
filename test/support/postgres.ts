// A throwaway PostgreSQL of the test run's own.
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { clusterAccount } from '../../src/embedded/postgres/account.ts';
import { findBinaries } from '../../src/embedded/postgres/binaries.ts';
import { bootstrap, OWNER, ownerUrl, superUrl } from '../../src/embedded/postgres/bootstrap.ts';
import type { Cluster, Settings } from '../../src/embedded/postgres/cluster.ts';
import { dataFolder, DURABLE, makeCluster, readSecrets } from '../../src/embedded/postgres/cluster.ts';
import { ensureServer, findPostmaster, stopServer } from '../../src/embedded/postgres/server.ts';
import { takeScratch } from './scratch.ts';
import { stopsWithUs } from './undertaker.ts';

export interface SharedPostgres {
  /** What another process of the run gives to `shareTestPostgres`. */
  folder: string;
  /** The URL of the owner `millrace` (no superuser) on a database of this cluster. */
  ownerUrl(database: string): string;
  /** The URL of the superuser, for what the owner must not do: corrupt rows, cut sessions, read settings. */
  superUrl(database: string): string;
  /** Makes an empty database, or a copy of one that nobody is connected to; answers its owner's URL. */
  createDatabase(template?: string): Promise<string>;
  /** `fast` ends sessions and writes everything down; `immediate` is a crash. Comes back on the same port. */
  restart(mode: 'fast' | 'immediate'): Promise<void>;
  /** SIGKILL to every process of it, and a start on the same port; resolves once it has recovered. */
  crash(): Promise<void>;
}

export interface TestPostgres extends SharedPostgres {
  /** Stops the server and deletes its files. */
  stop(): Promise<void>;
}

/** Survives a kill of PostgreSQL, as always, but not a power cut; nothing else is different from production. */
const FAST: Settings = { ...DURABLE, fsync: 'off', full_page_writes: 'off', logging_collector: 'off' };

const homeIn = (folder: string) => join(folder, 'home');

/**
 * Starts a cluster in a temporary folder. Takes about a second; leftovers of runs that crashed go first.
 * `durable` gives it the settings of production, for measurements.
 */
export async function startTestPostgres(options: { durable?: boolean } = {}): Promise<TestPostgres> {
  const account = await clusterAccount(null);
  const scratch = await takeScratch('postgres', account, (folder) => stopServer(homeIn(folder), 'immediate'));
  const { folder } = scratch;
  const spare = stopsWithUs('postgres', folder);
  if (options.durable) writeFileSync(join(folder, 'durable'), '');
  const cluster = await clusterOf(folder);
  await makeCluster(cluster, { sync: options.durable ?? false });
  const { port } = await ensureServer(cluster);
  await bootstrap(cluster.home, port);
  return {
    ...(await shareTestPostgres(folder)),
    stop: async () => {
      await stopServer(cluster.home, 'immediate');
      scratch.drop();
      spare();
    },
  };
}

/** The same cluster in another process of the run, which cannot end it. */
export async function shareTestPostgres(folder: string): Promise<SharedPostgres> {
  const cluster = await clusterOf(folder);
  const secrets = await readSecrets(cluster.home);
  const { port } = await ensureServer(cluster);
  return {
    folder,
    ownerUrl: (database) => ownerUrl(secrets, port, database),
    superUrl: (database) => superUrl(secrets, port, database),
    createDatabase: async (template = 'template0') => {
      const name = `test_${randomBytes(6).toString('hex')}`;
      // Copied as files: 11 ms; through the WAL, as by default, it is 80.
      const from = `template ${template} strategy file_copy`;
      await run(superUrl(secrets, port), `create database ${name} owner ${OWNER} ${from}`);
      return ownerUrl(secrets, port, name);
    },
    restart: async (mode) => {
      await stopServer(cluster.home, mode);
      await startOn(cluster, port);
    },
    crash: async () => {
      const running = await findPostmaster(cluster.home);
      if (running) killFamily(running.pid);
      // A moment later it is still there to be seen; this waits for its end.
      await stopServer(cluster.home, 'immediate');
      await startOn(cluster, port);
    },
  };
}

async function clusterOf(folder: string): Promise<Cluster> {
  const account = await clusterAccount(dataFolder(homeIn(folder)));
  const binaries = await findBinaries(account, () => {});
  const settings = existsSync(join(folder, 'durable')) ? DURABLE : FAST;
  return { home: homeIn(folder), binaries, account, settings };
}

/** The port was free for a moment: somebody's outgoing connection may sit on it. */
async function startOn(cluster: Cluster, port: number): Promise<void> {
  for (let attempt = 0; attempt < 20; attempt++) {
    if ((await ensureServer(cluster, port)).port === port) return;
    await stopServer(cluster.home, 'fast');
    await sleep(250);
  }
  throw new Error(`port ${port} was taken while PostgreSQL restarted`);
}

/** A frozen parent has no more children: none is missed. Each is the leader of a group of its own, so one by one. */
function killFamily(pid: number): void {
  process.kill(pid, 'SIGSTOP');
  for (const one of [pid, ...childrenOf(pid)]) {
    try {
      process.kill(one, 'SIGKILL');
    } catch {
      // It had just ended by itself.
    }
  }
}

function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      try {
        const stat = pid > 0 ? readFileSync(`/proc/${pid}/stat`, 'utf8') : '';
        return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent;
      } catch {
        return false;
      }
    });
}

async function run(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  try {
    await client.connect();
    await client.query(statement);
  } finally {
    await client.end();
  }
}
