// A consumer that takes a message, says so, and waits to be killed (queue-stands.ts).
import type { Kind } from '../../src/domain/job.ts';
import { openBullQueue } from '../../src/queue/bullmq.ts';

const queue = await openBullQueue({
  redisUrl: process.env['REDIS_URL'] ?? null,
  databaseUrl: process.env['DATABASE_URL'] ?? '',
  onError: () => {},
});
await queue.consume(process.env['HOLD_KIND'] as Kind, {
  concurrency: 1,
  handle({ jobId }) {
    process.stdout.write(`${jobId}\n`);
    return new Promise(() => {});
  },
});
