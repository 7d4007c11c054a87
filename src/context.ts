// Everything a process works with, opened once and passed first. The only file that joins the adapters.
import { PrismaPg } from '@prisma/adapter-pg';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Config } from './config.ts';
import { PrismaClient } from './db/generated/client.ts';
import { assertRole, openPool, type Pool } from './db/pool.ts';
import { rootOf } from './domain/address.ts';
import type { KeyRing } from './domain/key-ring.ts';
import { openEgress } from './egress/door.ts';
import type { Egress } from './egress/egress.ts';
import { openPostgresBus } from './live/postgres.ts';
import { openRedisBus } from './live/redis.ts';
import type { Bus } from './live/bus.ts';
import { assertNoEviction } from './queue/bull-redis.ts';
import { openBullQueue } from './queue/bullmq.ts';
import type { OpenQueue, Queue } from './queue/queue.ts';
import { openFileStorage } from './storage/files.ts';
import type { Storage } from './storage/storage.ts';
import { reach } from './reach.ts';
import { type Catalogue, readCatalogue } from './store/catalogue.ts';
import { serverName, watchTrouble } from './trouble.ts';
import { type Alarms, openAlarms } from './alarms.ts';
import { Counts } from './counts.ts';

export interface Context {
  config: Config;
  log: Logger;
  /** Writes, as millrace_flow. */
  flow: Pool;
  /** Reads for one client, as millrace_client. Use through readAs. */
  client: Pool;
  /** Prisma over the flow pool, for the operator's cold paths alone. */
  prisma: PrismaClient;
  queue: Queue;
  bus: Bus;
  storage: Storage;
  /** To URLs that users gave. */
  egress: Egress;
  /** What is sold, as last read. */
  catalogue(): Catalogue;
  refreshCatalogue(): Promise<void>;
  secrets: Secrets;
  /** What this process has done, for Prometheus. */
  counts: Counts;
  alarms: Alarms;
  /** Root of every absolute URL, without a trailing slash. */
  publicUrl(): string;
  close(): Promise<void>;
}

export interface Secrets {
  /** API keys are hashed under it. */
  pepper: Buffer;
  /** Seal secrets at rest (flow/seal.ts), sign links. */
  keys: KeyRing;
}

/** What start-up found out before the adapters are opened. */
export interface Resources {
  config: Config;
  log: Logger;
  databaseUrl: string;
  secrets: Secrets;
  address: Address;
  /** Instead of BullMQ: how tests and benches bring a queue of their own. */
  openQueue?: OpenQueue;
}

/** Where this process's API listens, once it does. */
export interface Address {
  url: string | null;
}

const CATALOGUE_REREAD_MS = 5_000;

export async function openContext({
  config,
  log,
  databaseUrl,
  secrets,
  address,
  openQueue = openBullQueue,
}: Resources): Promise<Context> {
  const { redisUrl } = config;
  const flowUrl = config.databaseFlowUrl ?? databaseUrl;
  const clientUrl = config.databaseClientUrl ?? databaseUrl;
  const database = watchTrouble(log, {
    server: serverName('PostgreSQL', flowUrl),
    ask: () => flow.query('select 1'),
  });
  const reader = watchTrouble(log, {
    server: serverName('PostgreSQL for reading', clientUrl),
    ask: () => client.query('select 1'),
  });
  const bell =
    redisUrl === null
      ? database
      : watchTrouble(log, { server: serverName('Redis', redisUrl), ask: async () => queue.ping() });
  const over = (): void => [database, reader, bell].forEach((trouble) => trouble.over());
  const flow = openPool(flowUrl, 'millrace_flow', { max: 12, onError: database.note });
  const client = openPool(clientUrl, 'millrace_client', { max: 6, onError: reader.note });
  try {
    await reach(
      { variable: config.databaseFlowUrl ? 'DATABASE_FLOW_URL' : 'DATABASE_URL', url: flowUrl },
      () => assertRole(flow, 'millrace_flow', config.databaseFlowUrl === null ? 'owner' : 'own'),
    );
    await reach(
      { variable: config.databaseClientUrl ? 'DATABASE_CLIENT_URL' : 'DATABASE_URL', url: clientUrl },
      () => assertRole(client, 'millrace_client', config.databaseClientUrl === null ? 'owner' : 'own'),
    );
    if (redisUrl !== null)
      await reach({ variable: 'REDIS_URL', url: redisUrl }, () => assertNoEviction(redisUrl));
  } catch (error) {
    over();
    await Promise.allSettled([flow.end(), client.end()]);
    throw error;
  }
  const queue = await openQueue({ redisUrl, databaseUrl: flowUrl, onError: bell.note });
  const bus =
    redisUrl === null ? await openPostgresBus(flowUrl, bell.note) : await openRedisBus(redisUrl, bell.note);
  const storage = await openStorage(config);
  const alarms = openAlarms(log);
  const egress = openEgress({ allow: config.egressAllow });
  let catalogue = await readCatalogue(flow);
  let begun = 0;
  let held = 0;
  const refreshCatalogue = async (): Promise<void> => {
    const mine = ++begun;
    const read = await readCatalogue(flow);
    // One that began before has seen less, and may come later.
    if (mine < held) return;
    held = mine;
    catalogue = read;
  };
  bus.subscribe((wake) => {
    if (wake.type === 'catalogue' || wake.type === 'missed') refreshCatalogue().catch(database.note);
  });
  const reread = setInterval(() => void refreshCatalogue().catch(database.note), CATALOGUE_REREAD_MS);
  return {
    config,
    log,
    flow,
    client,
    prisma: new PrismaClient({ adapter: new PrismaPg(flow), errorFormat: 'minimal' }),
    queue,
    bus,
    storage,
    egress,
    catalogue: () => catalogue,
    refreshCatalogue,
    secrets,
    counts: new Counts(),
    alarms,
    publicUrl: () =>
      config.publicUrl ?? address.url ?? catalogue.publicUrl ?? rootOf(config.host, config.port),
    async close() {
      over();
      clearInterval(reread);
      alarms.close();
      storage.close();
      await egress.close();
      await queue.close();
      await bus.close();
      await Promise.all([flow.end(), client.end()]);
    },
  };
}

/** One rule: the variable is set, or it is not. The SDK is loaded by those alone who use it. */
async function openStorage({ s3, dataDir }: Config): Promise<Storage> {
  if (s3) {
    const { openS3Storage } = await import('./storage/s3.ts');
    return openS3Storage(s3, { spoolDir: join(dataDir, 'spool') });
  }
  return openFileStorage(join(dataDir, 'artifacts'));
}
