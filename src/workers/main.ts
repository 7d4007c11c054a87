// A worker alone: `npm run worker -- --queues chat,image --concurrency 50`.
import { InvalidArgumentError } from 'commander';
import { QUEUES, type QueueName } from '../domain/queues.ts';
import { openPlatformFor } from '../platform.ts';
import { commandLine, runCommand } from '../process.ts';
import { serveMetrics } from './metrics.ts';
import { startWorker } from './start.ts';

const command = commandLine(
  'npm run worker --',
  'Runs a worker: takes jobs of the named queues, calls their providers, settles them, brings events to webhooks, and sweeps.',
  ['worker'],
)
  .option('--queues <kinds>', `which queues, separated by commas: ${QUEUES.join(', ')}`, parseQueues, [
    ...QUEUES,
  ])
  .option('--concurrency <n>', 'calls at once, of each queue of jobs', parseConcurrency, 50)
  .parse();

await runCommand(async (life) => {
  const options = command.opts<{ queues: QueueName[]; concurrency: number }>();
  const platform = await openPlatformFor(life);
  const { log } = platform.ctx;
  const { metricsPort } = platform.ctx.config;
  if (metricsPort !== null) {
    const metrics = await serveMetrics(platform.ctx, metricsPort);
    life.defer(() => metrics.close());
    log.info(`metrics at ${metrics.url}/metrics`);
  }
  const worker = await startWorker(platform, options);
  life.defer(() => worker.drain());
  log.info(options, 'the worker takes jobs');
  await life.untilStopped(log);
});

function parseQueues(text: string): QueueName[] {
  const names = text.split(',').map((name) => name.trim());
  const stranger = names.find((name) => !QUEUES.includes(name as QueueName));
  if (stranger !== undefined)
    throw new InvalidArgumentError(`"${stranger}" is no queue; there are ${QUEUES.join(', ')}.`);
  return names as QueueName[];
}

function parseConcurrency(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 10_000)
    throw new InvalidArgumentError('It must be a whole number from 1 to 10,000.');
  return value;
}
