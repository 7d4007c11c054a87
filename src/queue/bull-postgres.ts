import {
  createPostgresBackend,
  type Queue as BullQueue,
  withBackend,
  type Worker as BullWorker,
} from 'bullmq';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { KINDS } from '../domain/job.ts';
import type { Backend } from './bull-backend.ts';
import type { QueueOptions } from './queue.ts';

/** Longer than any of its statements takes, so that a server which no longer answers is an error and not a silence. */
const ANSWER_MS = 15_000;

/** BullMQ in the schema `bullmq` of the platform's own database. */
export function onPostgres({ databaseUrl, onError }: Omit<QueueOptions, 'redisUrl'>): Backend {
  const { Queue, Worker } = withBackend(createPostgresBackend);
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    // Each consumer keeps one connection for LISTEN; the rest is for its own commands and ours.
    max: KINDS.length + 6,
    options: '-c role=millrace_flow -c search_path=bullmq',
    application_name: 'millrace_queue',
    keepAlive: true,
    connectionTimeoutMillis: ANSWER_MS,
    query_timeout: ANSWER_MS,
  });
  // Each queue and consumer adds a listener, and BullMQ leaves them behind.
  pool.setMaxListeners(0);
  pool.on('error', onError);
  pool.on('connect', (client) => client.on('error', onError));
  tellLosses(pool);
  // BullMQ's types know its own pg, which is this one.
  const connection = pool as never;
  return {
    name: 'postgres',
    makeQueue: (kind) => new Queue(kind, { connection }) as unknown as BullQueue,
    makeWorker: (kind, handle, options) =>
      new Worker(kind, handle as never, { connection, ...options }) as unknown as BullWorker,
    ping: async () => void (await pool.query('select 1')),
    close: () => pool.end(),
  };
}

const RECONNECT_MS = 500;

/**
 * BullMQ waits and tries again after a lost connection, but knows a single sign of one: the code of a refused connect. At
 * anything else (a reset, a server that restarts or has no connection left) it fails the message, or fetches again at once
 * and for ever. So every error that is not PostgreSQL's word on the statement itself gets that code.
 */
function tellLosses(pool: pg.Pool): void {
  const query = pool.query.bind(pool) as (text: string, values?: unknown[]) => Promise<unknown>;
  const connect = pool.connect.bind(pool) as { (): Promise<pg.PoolClient>; (done: () => void): void };
  pool.query = ((text: string, values?: unknown[]) => query(text, values).catch(asLoss)) as typeof pool.query;
  // The pool's own queries connect with a callback and are told above.
  pool.connect = ((done?: () => void) =>
    done
      ? connect(done)
      : connect().catch(async (error: unknown) => {
          await sleep(RECONNECT_MS);
          return asLoss(error);
        })) as typeof pool.connect;
}

function asLoss(error: unknown): never {
  const { message, code } = error as Error & { code?: string };
  // Classes 08, 53 and 57: connection, resources, an operator's hand.
  if (error instanceof pg.DatabaseError && !/^(08|53|57)/.test(code ?? '')) throw error;
  throw Object.assign(new Error(message, { cause: error }), { code: 'ECONNREFUSED' });
}
