// The rival of bench/fairness.ts: one BullMQ queue that hears jobs in the order they came, whoever sent them.
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { arrive, type Rules, runTime, type Waits, waits } from '../test/support/contest.ts';
import { rollDice } from '../test/support/dice.ts';

interface Options {
  redisUrl: string;
  atOnce: number;
  /** How many of the big account's jobs stand in the queue at a time; the next comes when one has ended. */
  bigAtATime: number;
}

interface Payload {
  big: boolean;
  runMs: number;
}

/** What the small accounts wait for their turn in such a queue. */
export async function fifoWaits(rules: Rules, { redisUrl, atOnce, bigAtATime }: Options): Promise<Waits> {
  const dice = rollDice(rules.seed);
  const connection = new Redis(redisUrl, { maxRetriesPerRequest: null });
  const name = `fifo-${bigAtATime}`;
  const queue = new Queue<Payload>(name, { connection });
  const toJob = (big: boolean) => ({ name: 'job', data: { big, runMs: runTime(rules, dice) } });
  let bigLeft = rules.bigJobs - bigAtATime;
  await queue.addBulk(Array.from({ length: bigAtATime }, () => toJob(true)));
  const submitted = new Map<string, number>();
  const waited: number[] = [];
  const worker = new Worker<Payload>(
    name,
    async ({ id = '', data }) => {
      const since = submitted.get(id);
      if (since !== undefined) waited.push(performance.now() - since);
      submitted.delete(id);
      await sleep(data.runMs);
      if (data.big && bigLeft-- > 0) await queue.add('job', toJob(true).data);
    },
    { connection, concurrency: atOnce },
  );
  let count = 0;
  await arrive(rules, dice, async () => {
    const jobId = `small-${++count}`;
    submitted.set(jobId, performance.now());
    await queue.add('job', toJob(false).data, { jobId });
  });
  const still = [...submitted.values()].map((since) => performance.now() - since);
  await worker.close(true);
  await queue.close();
  connection.disconnect();
  return waits([
    ...waited.map((wait) => ({ waited: wait })),
    ...still.map((wait) => ({ waited: wait, unstarted: true })),
  ]);
}
