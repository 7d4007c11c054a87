// The servers and roles of a measurement, all its own, at production settings.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { startSim } from '../test/support/global-setup.ts';
import { openClient } from '../test/support/client.ts';
import { type Installation, makeAccount, type TestAccount } from '../test/support/platform.ts';
import { startTestPostgres } from '../test/support/postgres.ts';
import { startRedis, type TestRedis } from '../test/support/redis.ts';
import { type Role, spawnApi, spawnWorker } from '../test/support/spawn.ts';

export interface Machine extends Installation {
  redis: TestRedis;
  api: Role;
  account(options?: Parameters<typeof makeAccount>[2]): Promise<TestAccount>;
  worker(options?: Parameters<typeof spawnWorker>[1]): Promise<Role>;
  stop(): Promise<void>;
}

/** @param queue what rings: `redis` as in the targets, or PostgreSQL alone */
export async function startMachine(
  queue: 'redis' | 'postgres' = 'redis',
  prepare: (superUrl: string) => Promise<boolean> = async () => false,
): Promise<Machine> {
  const postgres = await startTestPostgres({ durable: true });
  if (await prepare(postgres.superUrl('postgres'))) await postgres.restart('fast');
  const redis = await startRedis();
  const sim = await startSim();
  const url = await postgres.createDatabase();
  const dataDir = await mkdtemp(join(tmpdir(), 'millrace-bench-'));
  const pool = new pg.Pool({ connectionString: postgres.superUrl(new URL(url).pathname.slice(1)), max: 2 });
  const installation: Installation = {
    env: {
      DATABASE_URL: url,
      SIM_URL: sim.url,
      MILLRACE_DATA_DIR: dataDir,
      PORT: '0',
      NODE_ENV: 'production',
      ...(queue === 'redis' ? { REDIS_URL: redis.url } : {}),
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
  const api = await spawnApi(installation);
  const { admin_key } = JSON.parse(await readFile(join(dataDir, 'credentials.json'), 'utf8')) as {
    admin_key: string;
  };
  const roles: Role[] = [api];
  return {
    ...installation,
    redis,
    api,
    account: (options) => makeAccount(api.url, openClient(api.url, admin_key), options),
    async worker(options) {
      const role = await spawnWorker(installation, options);
      roles.push(role);
      return role;
    },
    async stop() {
      await Promise.all(roles.map((role) => role.drain()));
      await installation.remove();
      await sim.stop();
      await redis.stop();
      await postgres.stop();
    },
  };
}

/** Samples a process's resident memory until stopped; answers the most it saw, in MiB. */
export function watchMemory(pid: number): () => number {
  let most = 0;
  const timer = setInterval(() => {
    readFile(`/proc/${pid}/status`, 'utf8')
      .then((text) => {
        most = Math.max(most, Number(/VmRSS:\s+(\d+)/.exec(text)?.[1] ?? 0) / 1024);
      })
      .catch(() => {});
  }, 100);
  return () => {
    clearInterval(timer);
    return Math.round(most);
  };
}

export function describeMachine(): string {
  const all = cpus();
  return `${all.length} cores (${all[0]?.model.trim()}), Node ${process.version}`;
}
