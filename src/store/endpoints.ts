import type { Db, Tx } from '../db/pool.ts';
import { rowset } from '../db/rowset.ts';
import type { Turn } from '../domain/page.ts';
import type { DisabledReason, Payload } from '../domain/webhook.ts';

/** A webhook endpoint as its owner sees it. */
export interface Endpoint {
  id: string;
  accountId: string;
  /** Empty for the one that stands for single jobs' webhooks. */
  url: string;
  events: string[];
  description: string;
  payload: Payload;
  enabled: boolean;
  disabledReason: DisabledReason | null;
  disabledAt: Date | null;
  failingSince: Date | null;
  oldSecretUntil: Date | null;
  forJobs: boolean;
  createdAt: Date;
}

const COLUMNS = `id, account_id as "accountId", url, events, description, payload, enabled, disabled_reason as "disabledReason",
  disabled_at as "disabledAt", failing_since as "failingSince", old_secret_until as "oldSecretUntil", for_jobs as "forJobs",
  created_at as "createdAt"`;

export async function listEndpoints(
  db: Db,
  { accountId, turn: { after, before, ascending, limit } }: { accountId: string; turn: Turn<string> },
): Promise<Endpoint[]> {
  const [past, until] = ascending ? ['>', '<'] : ['<', '>'];
  const { rows } = await db.query<Endpoint>(
    `select ${COLUMNS} from endpoints where account_id = $1 and deleted_at is null and not for_jobs
        and ($2::text is null or id ${past} $2) and ($3::text is null or id ${until} $3)
      order by id ${ascending ? 'asc' : 'desc'} limit $4`,
    [accountId, after, before, limit],
  );
  return rows;
}

export async function findEndpoint(db: Db, accountId: string, id: string): Promise<Endpoint | null> {
  const { rows } = await db.query<Endpoint>(
    `select ${COLUMNS} from endpoints where account_id = $1 and id = $2 and deleted_at is null`,
    [accountId, id],
  );
  return rows[0] ?? null;
}

export async function countEndpoints(db: Db, accountId: string): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    'select count(*)::int as count from endpoints where account_id = $1 and deleted_at is null and not for_jobs',
    [accountId],
  );
  return rows[0]?.count ?? 0;
}

export type NewEndpoint = Pick<
  Endpoint,
  'id' | 'accountId' | 'url' | 'events' | 'description' | 'payload'
> & {
  enabled: boolean;
  /** Sealed. */
  secret: Buffer;
};

export async function insertEndpoint(db: Db, endpoint: NewEndpoint): Promise<void> {
  const { id, accountId, url, events, description, payload, enabled, secret } = endpoint;
  await db.query(
    `insert into endpoints (id, account_id, url, events, description, payload, secret, enabled, disabled_reason, disabled_at)
      values ($1, $2, $3, $4, $5, $6, $7, $8, case when $8 then null else 'client' end, case when $8 then null else millrace_now() end)`,
    [id, accountId, url, events, description, payload, secret, enabled],
  );
}

/** Changes what is given. Enabling begins anew: whatever it failed at is forgotten. */
export async function changeEndpoint(
  db: Db,
  {
    accountId,
    id,
    ...change
  }: { accountId: string; id: string } & Partial<
    Pick<Endpoint, 'url' | 'events' | 'description' | 'payload'>
  > & { enable: boolean },
): Promise<void> {
  const { url = null, events = null, description = null, payload = null, enable } = change;
  await db.query(
    `update endpoints set url = coalesce($3, url), events = coalesce($4, events), description = coalesce($5, description),
        payload = coalesce($6, payload), enabled = enabled or $7,
        disabled_reason = case when $7 then null else disabled_reason end, disabled_at = case when $7 then null else disabled_at end,
        failing_since = case when $7 then null else failing_since end, warned_at = case when $7 then null else warned_at end
      where account_id = $1 and id = $2 and deleted_at is null`,
    [accountId, id, url, events, description, payload, enable],
  );
}

/** Answers it as it is now; null if it was disabled, or deleted, before. */
export async function disableEndpoint(
  db: Db,
  { accountId, id, reason }: { accountId: string; id: string; reason: DisabledReason },
): Promise<Endpoint | null> {
  const { rows } = await db.query<Endpoint>(
    `update endpoints set enabled = false, disabled_reason = $3, disabled_at = millrace_now()
      where account_id = $1 and id = $2 and enabled and deleted_at is null returning ${COLUMNS}`,
    [accountId, id, reason],
  );
  return rows[0] ?? null;
}

/** Its row stays for the log's sake, without its secrets. */
export async function deleteEndpoint(db: Db, accountId: string, id: string): Promise<void> {
  await db.query(
    `update endpoints set enabled = false, disabled_reason = coalesce(disabled_reason, 'client'),
        disabled_at = coalesce(disabled_at, millrace_now()), deleted_at = millrace_now(), secret = null, old_secret = null, old_secret_until = null
      where account_id = $1 and id = $2 and deleted_at is null`,
    [accountId, id],
  );
}

/** The secret so far signs besides for a while. */
export async function rotateSecret(
  db: Db,
  { accountId, id, secret, keepOldS }: { accountId: string; id: string; secret: Buffer; keepOldS: number },
): Promise<void> {
  await db.query(
    `update endpoints set old_secret = secret, old_secret_until = millrace_now() + make_interval(secs => $4), secret = $3
      where account_id = $1 and id = $2 and deleted_at is null`,
    [accountId, id, secret, keepOldS],
  );
}

export interface Secrets {
  secret: Buffer;
  oldSecret: Buffer | null;
}

/** Sealed; the old one only while it signs. */
export async function secretsOf(db: Db, accountId: string, id: string): Promise<Secrets | null> {
  const { rows } = await db.query<Secrets>(
    `select secret, case when old_secret_until > (select millrace_now()) then old_secret end as "oldSecret"
      from endpoints where account_id = $1 and id = $2 and deleted_at is null`,
    [accountId, id],
  );
  return rows[0] ?? null;
}

const forJobs = rowset<{ id: string; accountId: string; secret: Buffer }>({
  id: ['text', (e) => e.id],
  account_id: ['text', (e) => e.accountId],
  secret: ['bytea', (e) => e.secret],
});

/** Makes accounts' endpoints for single jobs' webhooks where there are none. */
export function ensureForJobs(
  tx: Tx,
  list: readonly { id: string; accountId: string; secret: Buffer }[],
): void {
  tx.send({
    name: 'ensure-for-jobs',
    text: `insert into endpoints (id, account_id, url, events, for_jobs, secret)
      select id, account_id, '', '{}', true, secret from ${forJobs.sql} on conflict do nothing`,
    values: forJobs.values(list),
  });
}

/** The account's endpoint for single jobs' webhooks. */
export async function findForJobs(db: Db, accountId: string): Promise<Endpoint | null> {
  const { rows } = await db.query<Endpoint>(
    `select ${COLUMNS} from endpoints where case when for_jobs then account_id end = $1`,
    [accountId],
  );
  return rows[0] ?? null;
}

/** How endpoints fare that were called: those that failed, as they stand now. */
export interface Failing {
  id: string;
  accountId: string;
  failingSince: Date;
  warnedAt: Date | null;
  now: Date;
}

/** Notes which endpoints could be reached and which could not; of those that are as they were, nothing is written. */
export async function noteReached(
  tx: Tx,
  { reached, failed }: { reached: readonly string[]; failed: readonly string[] },
): Promise<Failing[]> {
  tx.send({
    name: 'note-reached',
    text: `with changed as materialized (select id from endpoints where id = any($1) and failing_since is not null
          or id = any($2) and failing_since is null order by id for no key update)
      update endpoints e set failing_since = case when e.id = any($2) then millrace_now() end,
        warned_at = case when e.id = any($2) then e.warned_at end from changed c where e.id = c.id`,
    values: [reached, failed],
  });
  if (failed.length === 0) return [];
  const { rows } = await tx.query<Failing>({
    name: 'failing-endpoints',
    text: `select id, account_id as "accountId", failing_since as "failingSince", warned_at as "warnedAt", millrace_now() as now
      from endpoints where id = any($1) and enabled and failing_since is not null`,
    values: [failed],
  });
  return rows;
}

/** Notes that the owner was told. Answers it; null if that was done before, or it fails no longer. */
export async function noteWarned(db: Db, accountId: string, id: string): Promise<Endpoint | null> {
  const { rows } = await db.query<Endpoint>(
    `update endpoints set warned_at = millrace_now() where account_id = $1 and id = $2 and enabled and warned_at is null
      and failing_since is not null returning ${COLUMNS}`,
    [accountId, id],
  );
  return rows[0] ?? null;
}
