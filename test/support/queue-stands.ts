// The three queues that the conformance suite runs over, each with a way to look into it past our own code.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import type { Kind } from '../../src/domain/job.ts';
import { openBullQueue } from '../../src/queue/bullmq.ts';
import type { Queue } from '../../src/queue/queue.ts';
import { openBroker } from './adversarial-queue.ts';
import { type Installation, install } from './platform.ts';
import { diesWithUs } from './undertaker.ts';

export const STANDS = ['postgres', 'redis', 'memory'] as const;
export type StandName = (typeof STANDS)[number];

export interface Stand {
  /** As another process would. */
  connect(): Promise<Queue>;
  /** How many messages of a kind are in the store, as the store itself says. */
  tells(kind: Kind): Promise<number>;
  /** What the store calls itself. */
  identity(): Promise<string>;
  /** A consumer that takes one message and never comes to its end: a process that is killed, where there are processes. */
  holder(kind: Kind): Promise<Holder>;
  close(): Promise<void>;
}

export interface Holder {
  /** The job it holds. */
  taken: Promise<string>;
  die(): Promise<void>;
}

export async function openStand(name: StandName): Promise<Stand> {
  if (name === 'memory') return inMemory();
  const installation = await install(name);
  return name === 'postgres' ? onPostgres(installation) : onRedis(installation);
}

function inMemory(): Stand {
  const broker = openBroker({ seed: 1, leaseMs: 1_000 });
  return {
    connect: async () => broker.connect(),
    tells: async (kind) => broker.holds(kind),
    identity: async () => 'memory',
    async holder(kind) {
      const queue = broker.connect();
      const { promise, resolve } = Promise.withResolvers<string>();
      await queue.consume(kind, {
        concurrency: 1,
        handle: ({ jobId }) => (resolve(jobId), new Promise(() => {})),
      });
      return { taken: promise, die: () => queue.close() };
    },
    async close() {},
  };
}

function onPostgres(installation: Installation): Stand {
  const { sql } = installation;
  return {
    ...bull(installation),
    async tells(kind) {
      const [row] = await sql<{ n: number }>('select count(*)::int as n from bullmq.job where queue = $1', [
        kind,
      ]);
      return row?.n ?? 0;
    },
    async identity() {
      const [row] = await sql<{ version: string }>('select version()');
      return row?.version ?? '';
    },
    close: () => installation.remove(),
  };
}

async function onRedis(installation: Installation): Promise<Stand> {
  const redis = new Redis(installation.env['REDIS_URL'] ?? '');
  return {
    ...bull(installation),
    async tells(kind) {
      const [first] = await installation.sql<{ n: number }>('select count(*)::int as n from bullmq.job');
      if (first?.n !== 0) throw new Error('messages meant for Redis are in PostgreSQL');
      const messages = await redis.keys(`millrace:${kind}:job_*`);
      return messages.filter((key) => !key.endsWith(':lock')).length;
    },
    identity: () => redis.info('server'),
    async close() {
      redis.disconnect();
      await installation.remove();
    },
  };
}

function bull({ env }: Installation): Pick<Stand, 'connect' | 'holder'> {
  const options = { redisUrl: env['REDIS_URL'] ?? null, databaseUrl: env['DATABASE_URL'] ?? '' };
  return {
    connect: () => openBullQueue({ ...options, onError: () => {} }),
    async holder(kind) {
      const child = spawn(process.execPath, [fileURLToPath(new URL('queue-holder.ts', import.meta.url))], {
        env: { PATH: process.env['PATH'] ?? '', ...env, HOLD_KIND: kind },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      diesWithUs(child);
      const taken = once(createInterface({ input: child.stdout }), 'line').then(([line]) => String(line));
      return {
        taken,
        async die() {
          const ended = once(child, 'exit');
          child.kill('SIGKILL');
          await ended;
        },
      };
    },
  };
}
