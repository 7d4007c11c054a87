import type pg from 'pg';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Db, Pool, Tx } from './pool.ts';

/** A list that meets a lock held for longer is done again lane by lane (apart.ts). */
export const LIST_LOCK_MS = 2_000;

/**
 * Runs `work` in one transaction. An error from `commit` itself is thrown like any other: whether it took effect is then
 * unknown, which is why everything written through here is a no-op the second time.
 * @param options.lockMs how long to wait for a lock, if not as long as the connection's setting says
 */
export async function transaction<T>(
  pool: Pool,
  work: (tx: Tx) => Promise<T>,
  { lockMs }: { lockMs?: number } = {},
): Promise<T> {
  const client = await pool.connect();
  const sent: Promise<pg.QueryResult>[] = [];
  const send: Tx['send'] = (statement) => {
    const answer = client.query(statement);
    // What follows a failure fails for the failure's sake, so the first one is the one to tell.
    answer.catch((error: unknown) => {
      failure ??= error;
    });
    sent.push(answer);
    return answer;
  };
  let failure: unknown;
  let broken: Error | undefined;
  try {
    send({ text: lockMs === undefined ? 'begin' : `begin; set local lock_timeout = ${lockMs}` });
    const result = await work({ query: client.query.bind(client) as Tx['query'], send });
    // Behind a statement that failed, this is a rollback: nothing of the transaction is ever half there.
    send({ text: 'commit' });
    const commit = (await Promise.all(sent)).at(-1);
    if (commit?.command !== 'COMMIT') throw new Error('the transaction was rolled back');
    return result;
  } catch (error) {
    broken = await rollback(client, failure ?? error);
    throw failure ?? error;
  } finally {
    client.release(broken);
  }
}

/** Reads as the client role, seeing the rows of one account only. A consistent snapshot. */
export async function readAs<T>(pool: Pool, accountId: string, read: (tx: Db) => Promise<T>): Promise<T> {
  if (!/^acc_[0-9a-z]{26}$/.test(accountId)) throw new Error('not an account id');
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    // One round trip: a simple query may carry two statements. The id was checked, so it needs no quoting.
    await client.query(
      `begin isolation level repeatable read read only; select set_config('millrace.account_id', '${accountId}', true)`,
    );
    const result = await read(client);
    await client.query('commit');
    return result;
  } catch (error) {
    broken = await rollback(client, error);
    throw error;
  } finally {
    client.release(broken);
  }
}

async function rollback(client: pg.PoolClient, error: unknown): Promise<Error | undefined> {
  if (isConnectionError(error)) return error as Error;
  try {
    await client.query('rollback');
    return undefined;
  } catch (again) {
    return again as Error;
  }
}

const CONNECTION_CODES = new Set([
  '57P01', // ended by an administrator
  '57P02', // crash of another backend
  '57P03', // starting up or shutting down
  '53300', // too many connections
  '25P03', // idle in transaction for too long
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

/** The server is away, or went away in the middle: what was sent may or may not have happened. */
export function isConnectionError(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  if (typeof code === 'string' && (CONNECTION_CODES.has(code) || code.startsWith('08'))) return true;
  return (
    typeof message === 'string' &&
    /Connection terminated|timeout exceeded when trying to connect|Query read timeout|not queryable/i.test(
      message,
    )
  );
}

/** Another transaction was in the way: deadlock, serialization failure, a lock not had in time. */
export function isContention(error: unknown): boolean {
  return ['40P01', '40001', '55P03'].includes(String((error as { code?: unknown } | null)?.code));
}

/**
 * Repeats `work` while the database is away or in contention, until `signal` is aborted. Only for what may run twice.
 * @param options.on which errors pass with time, if not all of those
 */
export async function persistently<T>(
  work: () => Promise<T>,
  { on = mayPass, ...options }: { forMs: number; signal?: AbortSignal; on?: (error: unknown) => boolean },
): Promise<T> {
  const until = performance.now() + options.forMs;
  for (let attempt = 0; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      const hopeless = performance.now() > until || options.signal?.aborted === true;
      if (hopeless || !on(error)) throw error;
      await sleep(Math.random() * Math.min(1000, 25 * 2 ** attempt));
    }
  }
}

/** Whether the same work may succeed a moment later. */
export const mayPass = (error: unknown): boolean => isConnectionError(error) || isContention(error);
