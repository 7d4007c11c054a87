// An account's jobs, newest first, filtered.
import type { Context } from '../context.ts';
import { readAs } from '../db/transaction.ts';
import type { Job } from '../domain/job-view.ts';
import { JOB_COLUMNS } from '../store/jobs.ts';

const DEFAULT_LIMIT = 20;

/** A parameter that filters by one key of the metadata. */
export const METADATA_FILTER = /^metadata\[([^\]]{1,40})\]$/;

/** Query parameters that were validated; `metadata[k]` stands beside the named ones. */
export type JobFilter = Record<string, unknown>;

export async function listJobs(
  ctx: Context,
  accountId: string,
  filter: JobFilter,
): Promise<{ jobs: Job[]; hasMore: boolean }> {
  const limit = (filter['limit'] as number | undefined) ?? DEFAULT_LIMIT;
  const ascending = filter['order'] === 'asc';
  const values: unknown[] = [accountId];
  const conditions = ['account_id = $1'];
  const add = (sql: string, value: unknown): void => {
    values.push(value);
    conditions.push(sql.replaceAll('?', `$${values.length}`));
  };
  if (filter['after'] !== undefined) add(`id ${ascending ? '>' : '<'} ?`, filter['after']);
  if (filter['before'] !== undefined) add(`id ${ascending ? '<' : '>'} ?`, filter['before']);
  for (const column of ['kind', 'status', 'model', 'key_id', 'idempotency_key']) {
    if (filter[column] !== undefined) add(`${column} = ?`, filter[column]);
  }
  for (const [name, sql] of [
    ['created_after', 'created_at > ?'],
    ['created_before', 'created_at < ?'],
  ] as const) {
    // As Dates: PostgreSQL takes fewer offsets than the standard that the text was checked by.
    if (filter[name] !== undefined) add(sql, new Date(filter[name] as string));
  }
  for (const [name, value] of Object.entries(filter)) {
    const key = METADATA_FILTER.exec(name)?.[1];
    if (key !== undefined) add('metadata::jsonb @> ?::jsonb', JSON.stringify({ [key]: value }));
  }
  values.push(limit + 1);
  const { rows } = await readAs(ctx.client, accountId, (tx) =>
    tx.query<Job>(
      `select ${JOB_COLUMNS} from jobs where ${conditions.join(' and ')} order by id ${ascending ? 'asc' : 'desc'} limit $${values.length}`,
      values,
    ),
  );
  return { jobs: rows.slice(0, limit), hasMore: rows.length > limit };
}
