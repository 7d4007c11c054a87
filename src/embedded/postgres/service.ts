// PostgreSQL as a service of a data folder.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode } from '../error.ts';
import type { Service } from '../service.ts';
import { clusterAccount } from './account.ts';
import { findBinaries } from './binaries.ts';
import { bootstrap } from './bootstrap.ts';
import type { Cluster } from './cluster.ts';
import { dataFolder, DURABLE, makeCluster } from './cluster.ts';
import { abandonedHomes, knownHome, newHome } from './home.ts';
import { ensureServer, findPostmaster, stopServer } from './server.ts';

/** `folder` is `<data folder>/embedded`, as a real path. */
export function postgresService(folder: string, log: (line: string) => void): Service {
  const ensure = async (): Promise<string> => {
    const home = knownHome(folder);
    const running = home ? await findPostmaster(home) : null;
    if (home && running?.status === 'ready') {
      const url = await attachTo(home, running.port);
      if (url) log(`PostgreSQL found on port ${running.port} (pid ${running.pid})`);
      if (url) return url;
    }
    return start(home, folder, log);
  };
  return {
    name: 'postgres',
    ensure,
    stop: async () => {
      const home = knownHome(folder);
      if (home) await stopServer(home);
    },
  };
}

/** Null when the server went away just then. */
async function attachTo(home: string, port: number): Promise<string | null> {
  try {
    return await bootstrap(home, port);
  } catch (error) {
    if (['57P03', '57P01', 'ECONNREFUSED', 'ECONNRESET'].includes(errorCode(error) ?? '')) return null;
    throw error;
  }
}

async function start(known: string | null, folder: string, log: (line: string) => void): Promise<string> {
  const account = await clusterAccount(dataFolder(known ?? join(folder, 'postgres')));
  const binaries = await findBinaries(account, log);
  const home = known ?? (await newHome(folder, account));
  const cluster: Cluster = { home, binaries, account, settings: DURABLE };
  if (!existsSync(home)) log(`making a PostgreSQL ${binaries.major} database in ${home}`);
  await stopAbandoned(folder, home, log);
  await makeCluster(cluster, { sync: true });
  const { port } = await ensureServer(cluster);
  const url = await bootstrap(home, port);
  log(`PostgreSQL ${binaries.major} started on port ${port}`);
  return url;
}

async function stopAbandoned(folder: string, home: string, log: (line: string) => void): Promise<void> {
  for (const old of abandonedHomes(folder, home)) {
    await stopServer(old);
    log(`${old} holds the database of a deleted ${folder}: delete it if you need it no more`);
  }
}
