import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import type { Backend } from './bull-backend.ts';

const PREFIX = 'millrace';

/** BullMQ on Redis or Valkey, under keys that begin with `millrace:`. */
export function onRedis(url: string, onError: (error: Error) => void): Backend {
  // Ringing must fail fast when Redis is away: the sweep rings again. Consumers wait for it instead.
  const ringer = new Redis(url, { enableOfflineQueue: true, maxRetriesPerRequest: 1, commandTimeout: 5_000 });
  ringer.on('error', onError);
  const listener = new Redis(url, { maxRetriesPerRequest: null });
  listener.on('error', onError);
  return {
    name: 'redis',
    makeQueue: (kind) => new Queue(kind, { connection: ringer, prefix: PREFIX, skipVersionCheck: true }),
    makeWorker: (kind, handle, options) =>
      new Worker(kind, handle as never, { connection: listener, prefix: PREFIX, ...options }),
    ping: async () => void (await ringer.ping()),
    async close() {
      ringer.disconnect();
      listener.disconnect();
    },
  };
}

/** @throws if that Redis would throw messages away for want of memory, or does not answer */
export async function assertNoEviction(redisUrl: string): Promise<void> {
  const redis = new Redis(redisUrl, { maxRetriesPerRequest: 1, lazyConnect: true });
  // What connect() itself says is only that the connection is closed.
  let reason: Error | null = null;
  redis.on('error', (error: Error) => (reason = error));
  try {
    await redis.connect().catch((error: unknown) => {
      throw reason ?? error;
    });
    // From INFO, since rented servers often refuse CONFIG.
    const policy = /^maxmemory_policy:(\S+)/m.exec(await redis.info('memory'))?.[1];
    if (policy !== undefined && policy !== 'noeviction') {
      throw new Error(
        `The Redis of REDIS_URL throws keys away when its memory is full (maxmemory-policy ${policy}). ` +
          'Set it to noeviction: redis-cli config set maxmemory-policy noeviction',
      );
    }
  } finally {
    redis.disconnect();
  }
}
