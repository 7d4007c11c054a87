import { createHash } from 'node:crypto';
import type { Context } from '../context.ts';
import type { Breach } from '../ledger/audit-checks.ts';
import { StorageMissing } from '../storage/storage.ts';

interface Row {
  account_id: string;
  id: string;
  storage_key: string;
  bytes: number;
  sha256: string;
}

/**
 * I10: each artifact that was not deleted is in storage, byte for byte what its row says; and what a job's output names is
 * one of the job's artifacts, as the output describes it.
 */
export async function checkArtifacts(
  ctx: Context,
  accountIds: readonly string[],
): Promise<{ rows: number; breaches: Breach[] }> {
  const { rows } = await ctx.flow.query<Row>(
    'select account_id, id, storage_key, bytes::float8 as bytes, sha256 from artifacts where account_id = any($1) and deleted_at is null',
    [accountIds],
  );
  const breaches = await unknownOutputs(ctx, accountIds);
  for (const row of rows) {
    const wrong = await compare(ctx, row);
    if (wrong) breaches.push({ invariant: 'I10', account_id: row.account_id, subject: row.id, what: wrong });
  }
  return { rows: rows.length, breaches };
}

/** By the letter and not as JSON: a vendor's words beside it may hold what jsonb refuses. */
async function unknownOutputs(ctx: Context, accountIds: readonly string[]): Promise<Breach[]> {
  const { rows } = await ctx.flow.query<Omit<Breach, 'invariant'>>(
    `select j.account_id, coalesce(named.id, j.id) as subject,
        format('the output of %s names %s, which is no artifact of it', j.id, coalesce(named.id, 'nothing')) as what
      from jobs j left join lateral (
        select match[1] as id from regexp_matches(j.output, '"artifact_id":"(art_[0-9a-z]{26})"', 'g') match) named on true
      where j.account_id = any($1) and j.kind in ('image', 'tts') and j.status = 'succeeded' and j.output is not null
        and not exists (select from artifacts a where a.account_id = j.account_id and a.job_id = j.id
          and a.id = named.id and position(a.sha256 in j.output) > 0)`,
    [accountIds],
  );
  return rows.map((row) => ({ invariant: 'I10', ...row }));
}

async function compare(ctx: Context, row: Row): Promise<string | null> {
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    for await (const chunk of await ctx.storage.open(row.storage_key)) {
      hash.update(chunk as Buffer);
      bytes += (chunk as Buffer).length;
    }
  } catch (error) {
    // Deleted between our two looks at it.
    if (error instanceof StorageMissing)
      return (await deleted(ctx, row.id)) ? null : 'its bytes are not in storage';
    throw error;
  }
  if (bytes !== row.bytes) return `${bytes} bytes are stored where the row says ${row.bytes}`;
  return hash.digest('hex') === row.sha256 ? null : 'the stored bytes have another hash than the row says';
}

async function deleted(ctx: Context, id: string): Promise<boolean> {
  const { rowCount } = await ctx.flow.query(
    'select 1 from artifacts where id = $1 and deleted_at is not null',
    [id],
  );
  return rowCount === 1;
}
