// BullMQ as the doorbell, on PostgreSQL or on Redis. Only its simplest parts are used: no retries, no delays, no flows,
// no kept results, no QueueEvents. See docs/decisions/0001-postgres-is-the-truth.md.
import { setTimeout as sleep } from 'node:timers/promises';
import { type Job, type Queue as BullQueue, WaitingError } from 'bullmq';
import { type Bell, type Kind, KINDS } from '../domain/job.ts';
import { onPostgres } from './bull-postgres.ts';
import { onRedis } from './bull-redis.ts';
import type { Consumer, Message, Queue, QueueOptions } from './queue.ts';

/** A dead worker's message comes again after some six seconds: the lock, then the next look for stalled ones. */
const LOCK_MS = 5_000;
const STALLED_CHECK_MS = 2_000;
/** BullMQ waits 15 s after a refused connection if nobody says otherwise. */
const RETRY_MS = 1_000;
/** How long a closing consumer may take to say what it has done. */
const LAST_WORD_MS = 1_000;
const JOB_OPTIONS = { attempts: 1, removeOnComplete: true, removeOnFail: true } as const;

/** @throws if the backend cannot be reached */
export async function openBullQueue({ redisUrl, databaseUrl, ...options }: QueueOptions): Promise<Queue> {
  const onError = once(options.onError);
  const backend = redisUrl === null ? onPostgres({ databaseUrl, onError }) : onRedis(redisUrl, onError);
  const consumers = new Set<Consumer>();
  // All at once and at the start: a queue whose first contact fails on PostgreSQL stays broken for good.
  const queues = new Map(KINDS.map((kind) => [kind, backend.makeQueue(kind).on('error', onError)]));
  const queueOf = (kind: Kind): BullQueue => queues.get(kind) as BullQueue;
  const close = async (): Promise<void> => {
    await Promise.allSettled([...consumers].map((consumer) => consumer.close()));
    await Promise.allSettled([...queues.values()].map((queue) => queue.close()));
    await backend.close();
  };
  try {
    await Promise.all([...queues.values()].map((queue) => queue.waitUntilReady()));
  } catch (error) {
    await close();
    throw error;
  }
  return {
    backend: backend.name,
    async ring(bells) {
      const byKind = Map.groupBy(bells, (bell) => bell.kind);
      await Promise.all([...byKind].map(([kind, own]) => ringOne(queueOf(kind), own)));
    },
    async consume(kind, { concurrency, handle }) {
      let taking = true;
      let handling = 0;
      const worker = backend.makeWorker(
        kind,
        async (job, token) => {
          // A fetch that was under way when it was told to stop still brings its message.
          if (!taking) await giveBack(job, token);
          handling += 1;
          await handle(job.data).finally(() => (handling -= 1));
          return null;
        },
        workerOptions(concurrency),
      );
      worker.on('error', onError);
      const consumer: Consumer = {
        async stopTaking() {
          taking = false;
          await worker.pause(true);
        },
        async close() {
          consumers.delete(consumer);
          // BullMQ does not wait for its blocking connection to be gone, so one more message may come that way.
          taking = false;
          // What has been handled is said to be done first, or it would be in the queue's way until its lock lapses.
          if (handling === 0) await Promise.race([worker.close(), sleep(LAST_WORD_MS)]);
          else await worker.close(true);
        },
      };
      consumers.add(consumer);
      try {
        await worker.waitUntilReady();
      } catch (error) {
        await consumer.close();
        throw error;
      }
      return consumer;
    },
    async depth(kind) {
      const counts = await queueOf(kind).getJobCounts('waiting', 'prioritized', 'active', 'delayed');
      return Object.values(counts).reduce((sum, count) => sum + count, 0);
    },
    ping: () => backend.ping(),
    close,
  };
}

/**
 * Every queue and consumer passes on what its shared connection has to say: once is enough. And that a message is no
 * longer a consumer's own (a negative code, or a lock not renewed) is no trouble: whoever has it now is told by the claim.
 */
function once(onError: (error: Error) => void): (error: Error) => void {
  const told = new WeakSet<Error>();
  return (error) => {
    const { code } = error as { code?: unknown };
    if ((typeof code === 'number' && code < 0) || error.message.startsWith('could not renew lock')) return;
    if (told.has(error)) return;
    told.add(error);
    onError(error);
  };
}

async function giveBack(job: Job, token?: string): Promise<never> {
  await job.moveToWait(token);
  throw new WaitingError();
}

async function ringOne(queue: BullQueue, bells: readonly Bell[]): Promise<void> {
  await queue.addBulk(bells.map(toMessage));
  const moved = bells.filter((bell) => bell.repeat === 'moved');
  await Promise.all(
    moved.map((bell) => queue.getBackend().changePriority(idOf(bell), bell.slot).catch(unlessHeard)),
  );
}

/** The id makes a second ring of one epoch a no-op while the first is still waiting. */
function toMessage(bell: Bell) {
  const { kind, accountId, jobId, epoch, slot } = bell;
  const data: Message = { accountId, jobId, epoch };
  return { name: kind, data, opts: { ...JOB_OPTIONS, jobId: idOf(bell), priority: slot } };
}

const idOf = ({ jobId, epoch, repeat }: Bell): string =>
  repeat === 'late' ? `${jobId}-${epoch}-late` : `${jobId}-${epoch}`;

/** Between the two commands the message may have been heard and done: BullMQ's code -1, no such job. */
function unlessHeard(error: unknown): void {
  if ((error as { code?: unknown }).code !== -1) throw error;
}

const workerOptions = (concurrency: number) => ({
  concurrency,
  lockDuration: LOCK_MS,
  stalledInterval: STALLED_CHECK_MS,
  runRetryDelay: RETRY_MS,
  maxStalledCount: 1_000_000,
  removeOnComplete: { count: 0 },
  removeOnFail: { count: 0 },
});
