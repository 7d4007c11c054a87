// An account's jobs, newest first, filtered.
import type { Context } from '../context.ts';
import { readAs } from '../db/transaction.ts';
import type { Job } from '../domain/job-view.ts';
import { JOB_COLUMNS } from '../store/jobs.ts';

const DEFAULT_LIMIT = 20;

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
  if (filter['created_after'] !== undefined) add('created_at > ?', filter['created_after']);
  if (filter['created_before'] !== undefined) add('created_at < ?', filter['created_before']);
  for (const [name, value] of Object.entries(filter)) {
    const key = /^metadata\[(.{1,40})\]$/.exec(name)?.[1];
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
