// A whole Millrace for a test: a database of its own on the run's PostgreSQL, an API on a real socket, real workers, the
// run's simulator. In this process by default, which is quick; `spawn.ts` runs the roles as processes, which can be killed.
import { inject } from 'vitest';
import { startApi } from '../../src/api/start.ts';
import { readConfig } from '../../src/config.ts';
import type { Address } from '../../src/context.ts';
import { type Kind, KINDS } from '../../src/domain/job.ts';
import { openPlatform, type Platform, readCredentials } from '../../src/platform.ts';
import { startWorker } from '../../src/workers/start.ts';
import { type Client, openClient } from './client.ts';
import { makeAccount, type TestAccount } from './accounts.ts';
import { type Installation, installOn } from './installation.ts';
import { shareTestPostgres } from './postgres.ts';

export { makeAccount, type TestAccount } from './accounts.ts';
export type { Installation } from './installation.ts';

export const BACKENDS = ['postgres', 'redis'] as const;
export type BackendName = (typeof BACKENDS)[number];

let databases = 0;

/** A fresh database (a copy of the migrated template), data folder and queue. @param env over the defaults of tests */
export async function install(backend: BackendName, env: Record<string, string> = {}): Promise<Installation> {
  const postgres = await shareTestPostgres(inject('postgresFolder'));
  const url = await postgres.createDatabase(inject('template'));
  // Each worker of the run has a hundred Redis databases to itself, used one after the other.
  const redisDatabase = (Number(process.env['VITEST_POOL_ID'] ?? 1) % 10) * 100 + (databases++ % 100);
  const redisUrl = backend === 'redis' ? `${inject('redisUrl')}/${redisDatabase}` : null;
  return installOn({ postgres, databaseUrl: url, redisUrl, simUrl: inject('simUrl') }, env);
}

export interface TestPlatform extends Installation {
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

export interface PlatformOptions {
  backend?: BackendName;
  env?: Record<string, string>;
  /** No worker at all: jobs are admitted and wait. */
  worker?: false | { queues?: Kind[]; concurrency?: number };
}

export async function startPlatform({
  backend = 'postgres',
  env = {},
  worker = {},
}: PlatformOptions = {}): Promise<TestPlatform> {
  const installation = await install(backend, env);
  const config = readConfig(installation.env);
  const address: Address = { url: null };
  const platform = await openPlatform({ address, config, quiet: true });
  const api = await startApi(platform, address);
  const running =
    worker &&
    (await startWorker(platform, { queues: worker.queues ?? KINDS, concurrency: worker.concurrency ?? 50 }));
  const credentials = await readCredentials(config);
  if (!credentials) throw new Error('the first start wrote no credentials');
  const admin = openClient(api.url, credentials.admin_key);
  return {
    ...installation,
    url: api.url,
    platform,
    admin,
    account: (options) => makeAccount(api.url, admin, options),
    async stop() {
      await Promise.all([api.close(), running && running.drain()]);
      await platform.ctx.close();
      await platform.leave();
      await installation.remove();
    },
  };
}
