// A whole Millrace for a test: a database of its own on the run's PostgreSQL, an API on a real socket, real workers, the
// run's simulator. In this process by default, which is quick; `spawn.ts` runs the roles as processes, which can be killed.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { inject } from 'vitest';
import { startApi } from '../../src/api/start.ts';
import { readConfig } from '../../src/config.ts';
import type { Address } from '../../src/context.ts';
import { type Kind, KINDS } from '../../src/domain/job.ts';
import { openPlatform, type Platform, readCredentials } from '../../src/platform.ts';
import type { OpenQueue } from '../../src/queue/queue.ts';
import { startWorker } from '../../src/workers/start.ts';
import { type Client, openClient } from './client.ts';
import { shareTestPostgres } from './postgres.ts';

export const BACKENDS = ['postgres', 'redis'] as const;
export type BackendName = (typeof BACKENDS)[number];

/** What both kinds of platform, in this process and in others, are made of. */
export interface Installation {
  /** The environment its roles run in. */
  env: Record<string, string>;
  dataDir: string;
  /** As a superuser, past every policy: for looking and for breaking things. */
  sql<Row = Record<string, unknown>>(text: string, values?: unknown[]): Promise<Row[]>;
  remove(): Promise<void>;
}

let databases = 0;

/** A fresh database (a copy of the migrated template), data folder and queue. @param env over the defaults of tests */
export async function install(backend: BackendName, env: Record<string, string> = {}): Promise<Installation> {
  const postgres = await shareTestPostgres(inject('postgresFolder'));
  const url = await postgres.createDatabase(inject('template'));
  const name = new URL(url).pathname.slice(1);
  const dataDir = await mkdtemp(join(tmpdir(), 'millrace-test-'));
  const pool = new pg.Pool({ connectionString: postgres.superUrl(name), max: 2 });
  pool.on('error', () => {});
  // Each worker of the run has a hundred Redis databases to itself, used one after the other.
  const redisDatabase = (Number(process.env['VITEST_POOL_ID'] ?? 1) % 10) * 100 + (databases++ % 100);
  return {
    env: {
      DATABASE_URL: url,
      SIM_URL: inject('simUrl'),
      MILLRACE_DATA_DIR: dataDir,
      PORT: '0',
      LOG_LEVEL: 'error',
      ...(backend === 'redis' ? { REDIS_URL: `${inject('redisUrl')}/${redisDatabase}` } : {}),
      ...env,
    },
    dataDir,
    async sql<Row>(text: string, values: unknown[] = []) {
      return (await pool.query(text, values)).rows as Row[];
    },
    async remove() {
      await pool.end();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
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

export interface TestAccount extends Client {
  id: string;
  key: string;
  testKey: string;
}

export interface WorkerOptions {
  queues?: Kind[];
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
    startWorker(platform, { queues: queues ?? KINDS, concurrency: concurrency ?? 50 });
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

export async function makeAccount(
  url: string,
  admin: Client,
  {
    plan = 'startup',
    credits = 200_000_000,
    overrides = {},
  }: { plan?: string; credits?: number; overrides?: Record<string, unknown> } = {},
): Promise<TestAccount> {
  const made = await admin.post<{ id: string; api_key: string; test_api_key: string }>('/v1/admin/accounts', {
    name: 'test',
    plan,
    credits,
    overrides,
  });
  if (made.status !== 201) throw new Error(`the account was not made: ${JSON.stringify(made.body)}`);
  const { id, api_key: key, test_api_key: testKey } = made.body;
  return { id, key, testKey, ...openClient(url, key) };
}
