import type { Db, Tx } from '../db/pool.ts';
import { inserter } from '../db/rowset.ts';

/** Bytes that go in or come out. */
export interface Artifact {
  id: string;
  accountId: string;
  direction: 'input' | 'output';
  jobId: string | null;
  contentType: string;
  bytes: number;
  sha256: string;
  width: number | null;
  height: number | null;
  durationMs: number | null;
  sampleRate: number | null;
  storageKey: string;
  /** When its plan's retention ends; null: it is kept. */
  expiresAt: Date | null;
  /**
   * Promised, and not looked at yet. Until then `sha256` is what the client promised, or empty; `storageKey` is where its
   * upload goes; `expiresAt` is when it is given up.
   */
  pending: boolean;
}

const written = inserter<Artifact & { at: Date }>('artifacts', {
  id: ['text', (a) => a.id],
  account_id: ['text', (a) => a.accountId],
  direction: ['text', (a) => a.direction],
  job_id: ['text', (a) => a.jobId],
  content_type: ['text', (a) => a.contentType],
  bytes: ['bigint', (a) => BigInt(a.bytes)],
  sha256: ['text', (a) => a.sha256],
  width: ['integer', (a) => a.width],
  height: ['integer', (a) => a.height],
  duration_ms: ['integer', (a) => a.durationMs],
  sample_rate: ['integer', (a) => a.sampleRate],
  storage_key: ['text', (a) => a.storageKey],
  created_at: ['timestamptz', (a) => a.at],
  expires_at: ['timestamptz', (a) => a.expiresAt],
  pending: ['boolean', (a) => a.pending],
});

export function insertArtifacts(tx: Tx, artifacts: readonly Artifact[], at: Date): void {
  if (artifacts.length === 0) return;
  tx.send({
    name: 'insert-artifacts',
    text: `${written.text} on conflict (id) do nothing`,
    values: written.values(artifacts.map((artifact) => ({ ...artifact, at }))),
  });
}

/** An artifact as its row holds it. */
export interface StoredArtifact extends Artifact {
  createdAt: Date;
  deletedAt: Date | null;
}

const COLUMNS = `id, account_id as "accountId", direction, job_id as "jobId", content_type as "contentType", bytes::float8 as bytes,
  sha256, width, height, duration_ms as "durationMs", sample_rate as "sampleRate", storage_key as "storageKey",
  created_at as "createdAt", expires_at as "expiresAt", deleted_at as "deletedAt", pending`;

export async function findArtifact(db: Db, accountId: string, id: string): Promise<StoredArtifact | null> {
  const { rows } = await db.query<StoredArtifact>(
    `select ${COLUMNS} from artifacts where account_id = $1 and id = $2`,
    [accountId, id],
  );
  return rows[0] ?? null;
}

/** What was fetched for a job to work on. */
export async function findFetched(db: Db, accountId: string, jobId: string): Promise<StoredArtifact | null> {
  const { rows } = await db.query<StoredArtifact>(
    `select ${COLUMNS} from artifacts where account_id = $1 and job_id = $2 and direction = 'input' and deleted_at is null
      order by id limit 1`,
    [accountId, jobId],
  );
  return rows[0] ?? null;
}

/** By id alone: for links that were signed for it. */
export async function findArtifactById(db: Db, id: string): Promise<StoredArtifact | null> {
  const { rows } = await db.query<StoredArtifact>(`select ${COLUMNS} from artifacts where id = $1`, [id]);
  return rows[0] ?? null;
}

export async function listArtifacts(
  db: Db,
  page: {
    accountId: string;
    after: string | null;
    before: string | null;
    ascending: boolean;
    limit: number;
  },
): Promise<StoredArtifact[]> {
  const { rows } = await db.query<StoredArtifact>(
    `select ${COLUMNS} from artifacts where account_id = $1 and deleted_at is null and not pending
        and ($2::text is null or case when $4 then id > $2 else id < $2 end)
        and ($3::text is null or case when $4 then id < $3 else id > $3 end)
      order by case when $4 then id end asc, case when not $4 then id end desc limit $5`,
    [page.accountId, page.after, page.before, page.ascending, page.limit],
  );
  return rows;
}

/** Uploads that were promised since, after that id, and not used so far, whether somebody deleted them or not. */
export async function openPromises(
  db: Db,
  accountId: string,
  after: string,
): Promise<{ count: number; bytes: number }> {
  const { rows } = await db.query<{ count: number; bytes: number }>(
    `select count(*)::int as count, coalesce(sum(bytes), 0)::float8 as bytes from artifacts
      where account_id = $1 and id > $2 and pending`,
    [accountId, after],
  );
  return rows[0] ?? { count: 0, bytes: 0 };
}

export async function markArtifactDeleted(db: Db, accountId: string, id: string): Promise<boolean> {
  const { rowCount } = await db.query(
    'update artifacts set deleted_at = millrace_now() where account_id = $1 and id = $2 and deleted_at is null',
    [accountId, id],
  );
  return rowCount === 1;
}

/** What a pending artifact turned out to be. Null: it is pending no more, or gone. */
export async function fulfilArtifact(db: Db, artifact: Artifact): Promise<StoredArtifact | null> {
  const { id, accountId, sha256, storageKey, expiresAt, durationMs, sampleRate } = artifact;
  const { contentType, width, height } = artifact;
  const { rows } = await db.query<StoredArtifact>(
    `update artifacts set pending = false, sha256 = $3, storage_key = $4, expires_at = $5, duration_ms = $6, sample_rate = $7,
        content_type = $8, width = $9, height = $10
      where account_id = $1 and id = $2 and pending and deleted_at is null returning ${COLUMNS}`,
    [accountId, id, sha256, storageKey, expiresAt, durationMs, sampleRate, contentType, width, height],
  );
  return rows[0] ?? null;
}

/** Gives up a pending artifact. */
export async function expireNow(db: Db, { accountId, id }: Artifact): Promise<void> {
  await db.query(
    'update artifacts set deleted_at = millrace_now() where account_id = $1 and id = $2 and pending and deleted_at is null',
    [accountId, id],
  );
}

/** Marks those past their time as deleted, a page of them. Two that do so at once share them out. */
export async function expireArtifacts(
  db: Db,
  limit: number,
): Promise<{ id: string; storageKey: string; pending: boolean }[]> {
  const { rows } = await db.query<{ id: string; storageKey: string; pending: boolean }>({
    name: 'expire-artifacts',
    text: `with past as materialized (select id from artifacts where deleted_at is null and expires_at <= (select millrace_now())
        order by expires_at limit $1 for update skip locked)
      update artifacts a set deleted_at = millrace_now() from past p where a.id = p.id and a.deleted_at is null
      returning a.id, a.storage_key as "storageKey", a.pending`,
    values: [limit],
  });
  return rows;
}
