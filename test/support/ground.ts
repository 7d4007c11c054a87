// Servers of a test's own, which may be wiped, restarted and killed without a neighbour noticing.
import { startSim } from './global-setup.ts';
import { type Installation, installOn } from './installation.ts';
import { startTestPostgres, type TestPostgres } from './postgres.ts';
import { startRedis, type TestRedis } from './redis.ts';

export interface Ground {
  installation: Installation;
  simUrl: string;
  postgres: TestPostgres;
  /** Null: the queue is on PostgreSQL. */
  redis: TestRedis | null;
  /** The queue forgets everything: FLUSHALL, or its tables emptied. */
  wipeQueue(): Promise<void>;
  /** PostgreSQL and Redis are killed, and come back with what they had written down. */
  crash(): Promise<void>;
  /** Messages the queue holds. */
  messages(): Promise<number>;
  stop(): Promise<void>;
}

/** `durable`: PostgreSQL with the settings of production, and a Redis that writes its commands down. */
export async function openGround(
  backend: 'postgres' | 'redis',
  { durable = false, env = {} }: { durable?: boolean; env?: Record<string, string> } = {},
): Promise<Ground> {
  const [postgres, redis, sim] = await Promise.all([
    startTestPostgres({ durable }),
    backend === 'redis' ? startRedis({ appendonly: durable }) : null,
    startSim(),
  ]);
  const databaseUrl = await postgres.createDatabase();
  const redisUrl = redis?.url ?? null;
  const installation = await installOn({ postgres, databaseUrl, redisUrl, simUrl: sim.url }, env);
  return {
    installation,
    simUrl: sim.url,
    postgres,
    redis,
    async wipeQueue() {
      if (redis) await redis.cli('flushall');
      else await installation.sql('delete from bullmq.job');
    },
    async crash() {
      await Promise.all([postgres.crash(), redis?.crash()]);
    },
    async messages() {
      if (redis) return Number((await redis.cli('eval', COUNT, '0')).split('\n')[0]);
      const rows = await installation.sql<{ n: string }>('select count(*) as n from bullmq.job');
      return Number(rows[0]?.n);
    },
    async stop() {
      await installation.remove();
      await Promise.all([postgres.stop(), redis?.stop(), sim.stop()]);
    },
  };
}

/** Every message is a hash of its own. */
const COUNT = `local n = 0
  for _, key in ipairs(redis.call('keys', 'millrace:*:job_*')) do
    if redis.call('type', key).ok == 'hash' then n = n + 1 end
  end
  return n`;
