import type { Db } from '../db/pool.ts';
import type { KeyMode } from '../domain/api-key.ts';
import type { PlanOverrides } from '../domain/plan.ts';
import type { Standing } from '../domain/standing.ts';

export interface NewKey {
  id: string;
  accountId: string | null;
  mode: KeyMode;
  lookup: string;
  secretHmac: Buffer;
  last4: string;
  name: string;
}

export async function insertKey(db: Db, key: NewKey): Promise<void> {
  await db.query(
    'insert into api_keys (id, account_id, mode, lookup, secret_hmac, last4, name) values ($1, $2, $3, $4, $5, $6, $7)',
    [key.id, key.accountId, key.mode, key.lookup, key.secretHmac, key.last4, key.name],
  );
}

/** A key and whose it is, as a request needs it. */
export interface KnownKey {
  id: string;
  mode: KeyMode;
  secretHmac: Buffer;
  expired: boolean;
  revoked: boolean;
  /** Null for an operator's key. */
  accountId: string | null;
  livemode: boolean | null;
  planId: string | null;
  overrides: PlanOverrides | null;
  status: Standing['status'] | null;
  statusSince: Date | null;
}

const KNOWN = `select k.id, k.mode, k.secret_hmac as "secretHmac", coalesce(k.expires_at <= (select millrace_now()), false) as expired,
        k.revoked_at is not null as revoked, k.account_id as "accountId", a.livemode, a.plan_id as "planId", a.overrides, a.status,
        a.status_since as "statusSince"
      from api_keys k left join accounts a on a.id = k.account_id`;

export async function findKey(db: Db, lookup: string): Promise<KnownKey | null> {
  const { rows } = await db.query<KnownKey>({
    name: 'find-key',
    text: `${KNOWN} where k.lookup = $1`,
    values: [lookup],
  });
  return rows[0] ?? null;
}

/** Keys by their ids: of what was opened with them. */
export async function findKeys(db: Db, ids: readonly string[]): Promise<Map<string, KnownKey>> {
  const { rows } = await db.query<KnownKey>({
    name: 'find-keys',
    text: `${KNOWN} where k.id = any($1)`,
    values: [ids],
  });
  return new Map(rows.map((key) => [key.id, key]));
}

/** One transaction after the other, till each one's end: who waits sees the keys of those before it. */
export async function lockAdminKeys(tx: Db): Promise<void> {
  await tx.query(`select pg_advisory_xact_lock(hashtext('millrace.admin-keys'))`);
}

/** All operators' keys that still are valid; answers how many those were. */
export async function revokeAdminKeys(db: Db): Promise<number> {
  const { rowCount } = await db.query(
    `update api_keys set revoked_at = millrace_now() where mode = 'admin' and revoked_at is null`,
  );
  return rowCount ?? 0;
}
