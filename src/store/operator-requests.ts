import type { Db, Tx } from '../db/pool.ts';

/** Takes a key, unless it is taken; waits for whoever is about to take it. */
export async function claimKey(tx: Db, { key, hash }: { key: string; hash: Buffer }): Promise<boolean> {
  const { rowCount } = await tx.query({
    name: 'claim-key',
    text: `insert into operator_requests (key, request_hash) values ($1, $2)
      on conflict (key) do update set request_hash = excluded.request_hash, answer = null, created_at = millrace_now()
        where operator_requests.created_at < (select millrace_now()) - interval '30 days'`,
    values: [key, hash],
  });
  return rowCount === 1;
}

export async function knownAnswer(tx: Db, key: string): Promise<{ hash: Buffer; answer: Buffer }> {
  const { rows } = await tx.query<{ hash: Buffer; answer: Buffer }>(
    'select request_hash as hash, answer from operator_requests where key = $1',
    [key],
  );
  const row = rows[0];
  if (!row) throw new Error('an idempotency key was forgotten while it was asked for');
  return row;
}

export function keepAnswer(tx: Tx, key: string, answer: Buffer): void {
  tx.send({
    name: 'keep-answer',
    text: 'update operator_requests set answer = $2 where key = $1',
    values: [key, answer],
  });
}

/** A few of those older than 30 days; never waits for another who does the same. */
export function forgetOldKeys(tx: Tx): void {
  tx.send({
    text: `delete from operator_requests where key in (select key from operator_requests
      where created_at < (select millrace_now()) - interval '30 days' limit 100 for update skip locked)`,
  });
}
