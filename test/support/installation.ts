// What a platform of a test stands on: a database, a data folder, and the environment its roles are started with.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import type { SharedPostgres } from './postgres.ts';
import { goesWithUs } from './undertaker.ts';

/** What both kinds of platform, in this process and in others, are made of. */
export interface Installation {
  /** The environment its roles run in. */
  env: Record<string, string>;
  dataDir: string;
  /** As a superuser, past every policy: for looking and for breaking things. */
  sql<Row = Record<string, unknown>>(text: string, values?: unknown[]): Promise<Row[]>;
  remove(): Promise<void>;
}

export interface Foundations {
  postgres: SharedPostgres;
  /** The owner's URL of a database of `postgres`. */
  databaseUrl: string;
  /** Null: the queue is on PostgreSQL. */
  redisUrl: string | null;
  simUrl: string;
}

/** @param env over the defaults of tests */
export async function installOn(
  { postgres, databaseUrl, redisUrl, simUrl }: Foundations,
  env: Record<string, string> = {},
): Promise<Installation> {
  const name = new URL(databaseUrl).pathname.slice(1);
  const dataDir = await mkdtemp(join(tmpdir(), 'millrace-test-'));
  const spare = goesWithUs(dataDir);
  const pool = new pg.Pool({ connectionString: postgres.superUrl(name), max: 2 });
  pool.on('error', () => {});
  const remove = async (): Promise<void> => {
    await pool.end();
    await rm(dataDir, { recursive: true, force: true });
    spare();
  };
  // Whoever runs on it may remove it, and so may whoever made it.
  let removed: Promise<void> | null = null;
  return {
    env: {
      DATABASE_URL: databaseUrl,
      SIM_URL: simUrl,
      MILLRACE_DATA_DIR: dataDir,
      PORT: '0',
      LOG_LEVEL: 'error',
      // Whatever this machine has installed: no engines, unless a test brings its own.
      ENGINE_PATH: dataDir,
      ...(redisUrl === null ? {} : { REDIS_URL: redisUrl }),
      ...env,
    },
    dataDir,
    async sql<Row>(text: string, values: unknown[] = []) {
      return (await pool.query(text, values)).rows as Row[];
    },
    remove: () => (removed ??= remove()),
  };
}
