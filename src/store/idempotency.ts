import type { Db, Tx } from '../db/pool.ts';
import { inserter, rowset } from '../db/rowset.ts';

/** Which request made which job. `hash` is over the path and the body's bytes. */
export interface KnownRequest {
  accountId: string;
  key: string;
  hash: Buffer;
  jobId: string;
}

const sought = rowset<{ accountId: string; key: string }>({
  account_id: ['text', (k) => k.accountId],
  key: ['text', (k) => k.key],
});

/**
 * Requests of the last 30 days by account and key. Read under the accounts' locks, so a twin in flight has ended. The
 * upper bound keeps later partitions unread; a day is more than a clock ever steps back.
 */
export async function knownRequests(
  tx: Db,
  keys: readonly { accountId: string; key: string }[],
): Promise<Map<string, KnownRequest>> {
  if (keys.length === 0) return new Map();
  const { rows } = await tx.query<KnownRequest>({
    name: 'known-requests',
    text: `select k.* from ${sought.sql} cross join lateral (
        select account_id as "accountId", key, request_hash as hash, job_id as "jobId" from idempotency_keys k
        where k.account_id = r.account_id and k.key = r.key
          and k.created_at > (select millrace_now()) - interval '30 days' and k.created_at < (select millrace_now()) + interval '1 day'
        limit 1) k`,
    values: sought.values(keys),
  });
  return new Map(rows.map((row) => [requestId(row), row]));
}

export function requestId({ accountId, key }: { accountId: string; key: string }): string {
  return `${accountId} ${key}`;
}

const written = inserter<KnownRequest & { at: Date }>('idempotency_keys', {
  account_id: ['text', (k) => k.accountId],
  key: ['text', (k) => k.key],
  request_hash: ['bytea', (k) => k.hash],
  job_id: ['text', (k) => k.jobId],
  created_at: ['timestamptz', (k) => k.at],
});

export function rememberRequests(tx: Tx, requests: readonly KnownRequest[], at: Date): void {
  if (requests.length === 0) return;
  tx.send({
    name: 'remember-requests',
    text: written.text,
    values: written.values(requests.map((request) => ({ ...request, at }))),
  });
}
