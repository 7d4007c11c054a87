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
  expiresAt: Date | null;
  deletedAt: Date | null;
}

const COLUMNS = `id, account_id as "accountId", direction, job_id as "jobId", content_type as "contentType", bytes::float8 as bytes,
  sha256, width, height, duration_ms as "durationMs", sample_rate as "sampleRate", storage_key as "storageKey",
  created_at as "createdAt", expires_at as "expiresAt", deleted_at as "deletedAt"`;

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
    `select ${COLUMNS} from artifacts where account_id = $1 and deleted_at is null
        and ($2::text is null or case when $4 then id > $2 else id < $2 end)
        and ($3::text is null or case when $4 then id < $3 else id > $3 end)
      order by case when $4 then id end asc, case when not $4 then id end desc limit $5`,
    [page.accountId, page.after, page.before, page.ascending, page.limit],
  );
  return rows;
}

export async function markArtifactDeleted(db: Db, accountId: string, id: string): Promise<boolean> {
  const { rowCount } = await db.query(
    'update artifacts set deleted_at = millrace_now() where account_id = $1 and id = $2 and deleted_at is null',
    [accountId, id],
  );
  return rowCount === 1;
}
