// PostgreSQL as a service of a data folder.
import { existsSync } from 'node:fs';
import { errorCode } from '../error.ts';
import type { Service } from '../service.ts';
import { clusterAccount } from './account.ts';
import { findBinaries } from './binaries.ts';
import { bootstrap } from './bootstrap.ts';
import type { Cluster } from './cluster.ts';
import { dataFolder, DURABLE, makeCluster } from './cluster.ts';
import { claimHome, knownHome, newHome } from './home.ts';
import { ensureServer, findPostmaster, stopPostmaster, stopServer } from './server.ts';

/** `folder` is `<data folder>/embedded`, as a real path. */
export function postgresService(folder: string, log: (line: string) => void): Service {
  let found: Found | null = null;
  return {
    name: 'postgres',
    ensure: async () => {
      found = (await attachTo(knownHome(folder), log)) ?? (await start(folder, log));
      for (const old of claimHome(folder, found.home)) {
        await stopServer(old);
        log(`${old} holds the database of a deleted ${folder}: delete it if you need it no more`);
      }
      return found.url;
    },
    stop: async () => {
      const home = knownHome(folder);
      if (home) await stopServer(home);
    },
    abandon: async () => {
      if (found) await stopPostmaster(found.pid, found.home);
    },
  };
}

interface Found {
  home: string;
  pid: number;
  url: string;
}

/** Null when no server runs, or it went away just then. Needs none of PostgreSQL's programs. */
async function attachTo(home: string | null, log: (line: string) => void): Promise<Found | null> {
  const running = home ? await findPostmaster(home) : null;
  if (!home || running?.status !== 'ready') return null;
  try {
    const url = await bootstrap(home, running.port);
    log(`PostgreSQL found on port ${running.port} (pid ${running.pid})`);
    return { home, pid: running.pid, url };
  } catch (error) {
    if (['57P03', '57P01', 'ECONNREFUSED', 'ECONNRESET'].includes(errorCode(error) ?? '')) return null;
    throw error;
  }
}

async function start(folder: string, log: (line: string) => void): Promise<Found> {
  const known = knownHome(folder);
  const account = await clusterAccount(known && dataFolder(known));
  const binaries = await findBinaries(account, log);
  const home = known ?? (await newHome(folder, account));
  if (!existsSync(home)) log(`making a PostgreSQL ${binaries.major} database in ${home}`);
  const cluster: Cluster = { home, binaries, account, settings: DURABLE };
  await makeCluster(cluster, { sync: true });
  const { pid, port } = await ensureServer(cluster);
  const url = await bootstrap(home, port);
  log(`PostgreSQL ${binaries.major} started on port ${port} (pid ${pid})`);
  return { home, pid, url };
}
