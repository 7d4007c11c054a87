import { type Kind, KINDS } from './job.ts';

/** What a worker may serve: a queue of jobs for each kind, and the deliveries that wait for their receivers. */
export const QUEUES = [...KINDS, 'webhooks'] as const;
export type QueueName = (typeof QUEUES)[number];

/** Those that are queues of jobs. */
export const kindsOf = (queues: readonly QueueName[]): Kind[] =>
  queues.filter((name) => name !== 'webhooks') as Kind[];
