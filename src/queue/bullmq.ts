// BullMQ as the doorbell, on PostgreSQL or on Redis. Only its simplest parts are used: no retries, no delays, no flows,
// no kept results, no QueueEvents. See docs/decisions/0002-queue-is-a-doorbell.md.
import { createPostgresBackend, Queue as BullQueue, Worker as BullWorker, withBackend } from 'bullmq';
import { Redis } from 'ioredis';
import pg from 'pg';
import { type Bell, type Kind, KINDS } from '../domain/job.ts';
import type { Consumer, Message, Queue } from './queue.ts';

/** A dead worker's message comes again after some six seconds: the lock, then the next look for stalled ones. */
const LOCK_MS = 5_000;
const STALLED_CHECK_MS = 2_000;
const JOB_OPTIONS = { attempts: 1, removeOnComplete: true, removeOnFail: true } as const;

export interface BullOptions {
  /** Redis if given, else PostgreSQL. */
  redisUrl: string | null;
  databaseUrl: string;
  onError(error: Error): void;
}

interface Backend {
  name: string;
  makeQueue(kind: Kind): BullQueue;
  makeWorker(kind: Kind, handle: (job: { data: Message }) => Promise<null>, concurrency: number): BullWorker;
  ping(): Promise<void>;
  close(): Promise<void>;
}

export function openBullQueue(options: BullOptions): Queue {
  const backend = options.redisUrl === null ? onPostgres(options) : onRedis(options.redisUrl, options);
  const queues = new Map<Kind, BullQueue>();
  const queueOf = (kind: Kind): BullQueue => {
    const open = queues.get(kind) ?? backend.makeQueue(kind).on('error', options.onError);
    queues.set(kind, open);
    return open;
  };
  return {
    backend: backend.name,
    async ring(bells) {
      await Promise.all(
        KINDS.map(async (kind) => {
          const messages = bells.filter((bell) => bell.kind === kind).map(toMessage);
          if (messages.length > 0) await queueOf(kind).addBulk(messages);
        }),
      );
    },
    async consume(kind, { concurrency, handle }) {
      const worker = backend.makeWorker(kind, async (job) => (await handle(job.data), null), concurrency);
      worker.on('error', options.onError);
      await worker.waitUntilReady();
      return consumerOf(worker);
    },
    async depth(kind) {
      const counts = await queueOf(kind).getJobCounts('waiting', 'prioritized', 'active', 'delayed');
      return Object.values(counts).reduce((sum, count) => sum + count, 0);
    },
    ping: () => backend.ping(),
    async close() {
      await Promise.allSettled([...queues.values()].map((queue) => queue.close()));
      await backend.close();
    },
  };
}

/** The id makes a second ring of one epoch a no-op while the first is still waiting. */
function toMessage({ kind, accountId, jobId, epoch, slot }: Bell) {
  const data: Message = { accountId, jobId, epoch };
  return { name: kind, data, opts: { ...JOB_OPTIONS, jobId: `${jobId}-${epoch}`, priority: slot } };
}

function consumerOf(worker: BullWorker): Consumer {
  return {
    stopTaking: () => worker.pause(true),
    close: () => worker.close(true),
  };
}

const workerOptions = (concurrency: number) => ({
  concurrency,
  lockDuration: LOCK_MS,
  stalledInterval: STALLED_CHECK_MS,
  maxStalledCount: 1_000_000,
  removeOnComplete: { count: 0 },
  removeOnFail: { count: 0 },
});

function onPostgres({ databaseUrl, onError }: BullOptions): Backend {
  const { Queue: PgQueue, Worker: PgWorker } = withBackend(createPostgresBackend);
  // Each consumer keeps one connection for LISTEN; the rest is for its own commands and ours.
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    max: KINDS.length + 6,
    options: '-c role=millrace_flow -c search_path=bullmq',
    application_name: 'millrace_queue',
    keepAlive: true,
  });
  pool.on('error', onError);
  pool.on('connect', (client) => client.on('error', onError));
  return {
    name: 'postgres',
    makeQueue: (kind) => new PgQueue(kind, { connection: pool as never }) as unknown as BullQueue,
    makeWorker: (kind, handle, concurrency) =>
      new PgWorker(kind, handle as never, {
        connection: pool as never,
        ...workerOptions(concurrency),
      }) as unknown as BullWorker,
    ping: async () => void (await pool.query('select 1')),
    close: () => pool.end(),
  };
}

function onRedis(url: string, { onError }: BullOptions): Backend {
  const prefix = 'millrace';
  // Ringing must fail fast when Redis is away: the sweep rings again. Consumers wait for it instead.
  const ringer = new Redis(url, { enableOfflineQueue: true, maxRetriesPerRequest: 1, commandTimeout: 5_000 });
  ringer.on('error', onError);
  const listener = new Redis(url, { maxRetriesPerRequest: null });
  listener.on('error', onError);
  return {
    name: 'redis',
    makeQueue: (kind) => new BullQueue(kind, { connection: ringer, prefix, skipVersionCheck: true }),
    makeWorker: (kind, handle, concurrency) =>
      new BullWorker(kind, handle as never, { connection: listener, prefix, ...workerOptions(concurrency) }),
    ping: async () => void (await ringer.ping()),
    async close() {
      ringer.disconnect();
      listener.disconnect();
    },
  };
}

/** @throws if that Redis would throw messages away for want of memory. */
export async function assertNoEviction(redisUrl: string): Promise<void> {
  const redis = new Redis(redisUrl, { maxRetriesPerRequest: 1, lazyConnect: true });
  // What connect() itself says is only that the connection is closed.
  let reason: Error | null = null;
  redis.on('error', (error: Error) => (reason = error));
  try {
    await redis.connect().catch((error: unknown) => {
      throw reason ?? error;
    });
    const [, policy] = (await redis.config('GET', 'maxmemory-policy')) as string[];
    if (policy !== undefined && policy !== 'noeviction') {
      throw new Error(`Redis evicts (maxmemory-policy ${policy}); set it to noeviction.`);
    }
  } finally {
    redis.disconnect();
  }
}
