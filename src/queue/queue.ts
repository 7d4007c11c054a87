// The doorbell. A queue may lose, double, delay and reorder what it is given; nobody believes it. PostgreSQL knows what
// is to be done, a message only says that it is time to look.
import type { Bell, Kind } from '../domain/job.ts';

/** What comes out of the queue: enough to try a claim. */
export type Message = Pick<Bell, 'accountId' | 'jobId' | 'epoch'>;

export interface Consumer {
  /** Takes no more messages; one that was being fetched meanwhile is given back. Handlers run on. */
  stopTaking(): Promise<void>;
  /** Lets go of the connection. Messages whose handler has not returned come again, elsewhere. */
  close(): Promise<void>;
}

export interface Queue {
  readonly backend: string;
  /** Lower slots are heard first. Ringing twice for one job and epoch is harmless. */
  ring(bells: readonly Bell[]): Promise<void>;
  /** `handle` never rejects; a message is done when it resolves. */
  consume(
    kind: Kind,
    options: { concurrency: number; handle(message: Message): Promise<void> },
  ): Promise<Consumer>;
  /** Messages that wait or are being handled. */
  depth(kind: Kind): Promise<number>;
  /** @throws if the backend does not answer */
  ping(): Promise<void>;
  close(): Promise<void>;
}

/** Where the queue is kept. Whoever opens a context may give another way to open one (tests, benches). */
export interface QueueOptions {
  /** Redis if given, else PostgreSQL. */
  redisUrl: string | null;
  /** As a login that may take the flow role. */
  databaseUrl: string;
  onError(error: Error): void;
}

export type OpenQueue = (options: QueueOptions) => Promise<Queue>;
