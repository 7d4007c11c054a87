// A whole Millrace for a test: a database of its own on the run's PostgreSQL, an API on a real socket, real workers, the
// run's simulator. In this process by default, which is quick; `spawn.ts` runs the roles as processes, which can be killed.
import { Redis } from 'ioredis';
import { inject } from 'vitest';
import { startApi } from '../../src/api/start.ts';
import { readConfig } from '../../src/config.ts';
import type { Address } from '../../src/context.ts';
import { QUEUES, type QueueName } from '../../src/domain/queues.ts';
import { openPlatform, type Platform, readCredentials } from '../../src/platform.ts';
import type { OpenQueue } from '../../src/queue/queue.ts';
import { startWorker } from '../../src/workers/start.ts';
import { type Client, openClient } from './client.ts';
import { makeAccount, type TestAccount } from './accounts.ts';
import { type Installation, installOn } from './installation.ts';
import { shareTestPostgres } from './postgres.ts';

export { makeAccount, type TestAccount } from './accounts.ts';
export type { Installation } from './installation.ts';

export const BACKENDS = ['postgres', 'redis'] as const;
export type BackendName = (typeof BACKENDS)[number];

/** One of the run's Redis that no other installation has: the Redis itself counts, since files run side by side. */
async function freshRedisDatabase(url: string): Promise<string> {
  const redis = new Redis(url);
  const number = await redis.incr('databases given to tests');
  await redis.quit();
  return `${url}/${number}`;
}

/** A fresh database (a copy of the migrated template), data folder and queue. @param env over the defaults of tests */
export async function install(backend: BackendName, env: Record<string, string> = {}): Promise<Installation> {
  const postgres = await shareTestPostgres(inject('postgresFolder'));
  const url = await postgres.createDatabase(inject('template'));
  const redisUrl = backend === 'redis' ? await freshRedisDatabase(inject('redisUrl')) : null;
  return installOn({ postgres, databaseUrl: url, redisUrl, simUrl: inject('simUrl') }, env);
}

export interface TestPlatform extends Installation {
  /** Another worker, with a context of its own as if it were another process. Drain it, or let `stop` do so. */
  addWorker(options?: WorkerOptions): Promise<TestWorker>;
  url: string;
  platform: Platform;
  /** With the operator's key. */
  admin: Client;
  /** A new account; `credits` default to 100 USD. */
  account(options?: {
    plan?: string;
    credits?: number;
    overrides?: Record<string, unknown>;
  }): Promise<TestAccount>;
  stop(): Promise<void>;
}

export interface WorkerOptions {
  queues?: QueueName[];
  concurrency?: number;
}

export interface TestWorker {
  platform: Platform;
  /** Drains it and closes its context. */
  stop(): Promise<void>;
}

export interface RunOptions {
  /** No worker at all: jobs are admitted and wait. */
  worker?: false | WorkerOptions;
  /** A queue of the test's own, whatever the environment says. Called once for each context. */
  openQueue?: OpenQueue;
}

export interface PlatformOptions extends RunOptions {
  backend?: BackendName;
  env?: Record<string, string>;
}

export async function startPlatform({
  backend = 'postgres',
  env = {},
  ...options
}: PlatformOptions = {}): Promise<TestPlatform> {
  return runPlatform(await install(backend, env), options);
}

/** API and worker of an installation in this process. `stop` removes the installation too. */
export async function runPlatform(
  installation: Installation,
  { worker = {}, openQueue }: RunOptions = {},
): Promise<TestPlatform> {
  const config = readConfig(installation.env);
  const address: Address = { url: null };
  const open = (rest: { address?: Address } = {}) =>
    openPlatform({ config, quiet: true, ...rest, ...(openQueue && { openQueue }) });
  const platform = await open({ address });
  const api = await startApi(platform, address);
  const generate = (platform: Platform, { queues, concurrency }: WorkerOptions) =>
    startWorker(platform, { queues: queues ?? QUEUES, concurrency: concurrency ?? 50 });
  const running = worker && (await generate(platform, worker));
  const others = new Set<TestWorker>();
  const credentials = await readCredentials(config);
  if (!credentials) throw new Error('the first start wrote no credentials');
  const admin = openClient(api.url, credentials.admin_key);
  return {
    ...installation,
    url: api.url,
    platform,
    admin,
    account: (options) => makeAccount(api.url, admin, options),
    async addWorker(options = {}) {
      const platform = await open();
      const running = await generate(platform, options);
      const other: TestWorker = {
        platform,
        async stop() {
          if (!others.delete(other)) return;
          await running.drain();
          await platform.ctx.close();
          await platform.leave();
        },
      };
      others.add(other);
      return other;
    },
    async stop() {
      await Promise.all([...others].map((other) => other.stop()));
      await Promise.all([api.close(), running && running.drain()]);
      await platform.ctx.close();
      await platform.leave();
      await installation.remove();
    },
  };
}
