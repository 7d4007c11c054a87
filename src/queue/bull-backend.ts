// What differs between BullMQ's two stores.
import type { Job, Queue, Worker, WorkerOptions } from 'bullmq';
import type { Kind } from '../domain/job.ts';
import type { Message } from './queue.ts';

export type Handler = (job: Job<Message>, token?: string) => Promise<null>;

export interface Backend {
  name: string;
  makeQueue(kind: Kind): Queue;
  makeWorker(kind: Kind, handle: Handler, options: Omit<WorkerOptions, 'connection'>): Worker;
  ping(): Promise<void>;
  close(): Promise<void>;
}
