// What must not happen twice although it may be asked for twice: by us, when the answer to a COMMIT was lost, or by an
// operator who never heard ours.
import type { Context } from '../context.ts';
import { persistently, transaction } from '../db/transaction.ts';
import type { Tx } from '../db/pool.ts';
import { AppError } from '../domain/errors.ts';
import { newId } from '../domain/ids.ts';
import { claimKey, forgetOldKeys, knownAnswer, keepAnswer } from '../store/operator-requests.ts';

import { openSeal, seal } from './seal.ts';

/** An Idempotency-Key, with a hash of path and body. */
export interface Idempotency {
  key: string;
  hash: Buffer;
}

const PATIENCE_MS = 12_000;

/**
 * Does `work` in a transaction that also keeps its answer, under the request's key or one of our own. A second time, the
 * answer is read back; one who failed has used no key.
 * @param work what it answers must be the same once it was JSON
 * @throws AppError idempotency_key_reused
 */
export async function once<T extends object>(
  { flow, secrets }: Pick<Context, 'flow' | 'secrets'>,
  idempotency: Idempotency | null,
  work: (tx: Tx) => Promise<T>,
): Promise<{ answer: T; replayed: boolean }> {
  // No client can name a key of ours: the separator is not printable.
  const { key, hash } = idempotency ?? { key: `\u001F${newId('req')}`, hash: Buffer.alloc(0) };
  let tries = 0;
  const attempt = async (tx: Tx): Promise<{ answer: T; replayed: boolean }> => {
    const repeated = tries++ > 0;
    // Waits for a twin in flight.
    if (await claimKey(tx, { key, hash })) {
      const answer = await work(tx);
      keepAnswer(tx, key, seal(secrets.keys, `request:${key}`, JSON.stringify(answer)));
      forgetOldKeys(tx);
      return { answer, replayed: false };
    }
    const known = await knownAnswer(tx, key);
    if (!known.hash.equals(hash)) throw new AppError('idempotency_key_reused');
    const answer = JSON.parse(openSeal(secrets.keys, `request:${key}`, known.answer)) as T;
    return { answer, replayed: !repeated };
  };
  return persistently(() => transaction(flow, attempt), { forMs: PATIENCE_MS });
}
