// The rival: BullMQ alone on the same Redis. `node bench/bare.ts add|work <redis url> <jobs>`, each a process of its own.
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { PAYLOAD } from './payload.ts';

const LOOPS = 128;
const CONCURRENCY = 200;
const [role, url, count] = process.argv.slice(2) as [string, string, string];
const jobs = Number(count);
const connection = new Redis(url, { maxRetriesPerRequest: null });
const say = (message: object): void => void process.stdout.write(`${JSON.stringify(message)}\n`);

if (role === 'add') {
  const queue = new Queue('bare', { connection });
  await queue.waitUntilReady();
  let next = 0;
  const started = Date.now();
  const loop = async (): Promise<void> => {
    while (next++ < jobs) await queue.add('chat', PAYLOAD, { removeOnComplete: true, removeOnFail: true });
  };
  await Promise.all(Array.from({ length: LOOPS }, loop));
  say({ started, ended: Date.now() });
  await queue.close();
} else {
  let done = 0;
  const worker = new Worker(
    'bare',
    async () => {
      if (++done === jobs) say({ ended: Date.now() });
      return null;
    },
    { connection, concurrency: CONCURRENCY },
  );
  await worker.waitUntilReady();
  say({ ready: true });
  process.once('SIGTERM', () => void worker.close(true).then(() => process.exit()));
  await new Promise(() => {});
}
connection.disconnect();
