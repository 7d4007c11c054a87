// An account's jobs, newest first, filtered.
import type { Context } from '../context.ts';
import { CLIENT_STATEMENT_MS, type Db } from '../db/pool.ts';
import { readAs } from '../db/transaction.ts';
import { AppError } from '../domain/errors.ts';
import { idFloor } from '../domain/ids.ts';
import type { Job } from '../domain/job-view.ts';
import { type Page, type Turn, turnPage } from '../domain/page.ts';
import { JOB_COLUMNS } from '../store/jobs.ts';

const DEFAULT_LIMIT = 20;
/** Ids carry the clock of the API that made them, `created_at` the database's: how far those may be apart. */
const CLOCK_SLACK_MS = 3_600_000;

/** A parameter that filters by one key of the metadata. */
export const METADATA_FILTER = /^metadata\[([^\]]{1,40})\]$/;

/** Query parameters that were validated; `metadata[k]` stands beside the named ones. */
export type JobFilter = Record<string, unknown>;

/** @throws AppError invalid_request if the filter had too many jobs to look through */
export async function listJobs(ctx: Context, accountId: string, filter: JobFilter): Promise<Page<Job>> {
  try {
    return await readAs(ctx.client, accountId, (tx) => findPage(tx, accountId, filter));
  } catch (error) {
    throw (error as { code?: unknown }).code === '57014' ? tooMuch(filter, error) : error;
  }
}

export async function findPage(db: Db, accountId: string, filter: JobFilter): Promise<Page<Job>> {
  const { after = null, before = null, limit = DEFAULT_LIMIT } = filter as Partial<Turn<string>>;
  const asked = { after, before, limit, ascending: filter['order'] === 'asc' };
  return turnPage(asked, (turn) => readTurn(db, accountId, { filter, turn }));
}

async function readTurn(
  db: Db,
  accountId: string,
  { filter, turn }: { filter: JobFilter; turn: Turn<string> },
): Promise<Job[]> {
  const { after, before, ascending, limit } = turn;
  const values: unknown[] = [accountId];
  const conditions = ['account_id = $1'];
  const add = (sql: string, value: unknown): void => {
    values.push(value);
    conditions.push(sql.replaceAll('?', `$${values.length}`));
  };
  if (after !== null) add(`id ${ascending ? '>' : '<'} ?`, after);
  if (before !== null) add(`id ${ascending ? '<' : '>'} ?`, before);
  for (const column of ['kind', 'status', 'model', 'key_id', 'idempotency_key']) {
    if (filter[column] !== undefined) add(`${column} = ?`, filter[column]);
  }
  // The bound by id is the one an index knows; the other is the one that was asked for.
  for (const [name, sign, slack] of [
    ['created_after', '>', -CLOCK_SLACK_MS],
    ['created_before', '<', CLOCK_SLACK_MS],
  ] as const) {
    if (filter[name] === undefined) continue;
    // As Dates: PostgreSQL takes fewer offsets than the standard that the text was checked by.
    const instant = new Date(filter[name] as string);
    add(`created_at ${sign} ?`, instant);
    const bound = instant.getTime() + slack;
    if (bound >= 0) add(`id ${sign} ?`, idFloor('job', new Date(bound)));
  }
  for (const [name, value] of Object.entries(filter)) {
    const key = METADATA_FILTER.exec(name)?.[1];
    if (key !== undefined) add('metadata::jsonb @> ?::jsonb', JSON.stringify({ [key]: value }));
  }
  const few = fewRows(filter, values);
  values.push(limit);
  const { rows } = await db.query<Job>(
    `${few ? `with few as materialized (${few}) ` : ''}select ${JOB_COLUMNS} from ${few ? 'few' : 'jobs'}
      where ${conditions.join(' and ')} order by id ${ascending ? 'asc' : 'desc'} limit $${values.length}`,
    values,
  );
  return rows;
}

/**
 * The rows of a partial index that holds all that can match, if there is one. Materialized, since the planner else takes
 * the order for the dearer part, and walks every job of the account by id until it has found enough of what is rare.
 */
function fewRows({ status, idempotency_key: key }: JobFilter, values: unknown[]): string | null {
  const of = (condition: string): string => `select * from jobs where account_id = $1 and ${condition}`;
  if (key !== undefined) {
    values.push(key);
    return of(`idempotency_key = $${values.length}`);
  }
  if (status === 'running') return of('slot is not null');
  if (status === 'queued') return `${of('slot is not null')} union all ${of('place is not null')}`;
  return null;
}

const NOT_FILTERS = new Set(['limit', 'order', 'after', 'before']);

function tooMuch(filter: JobFilter, cause: unknown): AppError {
  const names = Object.keys(filter).filter((name) => !NOT_FILTERS.has(name));
  const message = `too many jobs to look through in ${CLIENT_STATEMENT_MS / 1000} s`;
  const issue = { message, expected: 'a narrower filter: created_after and created_before bound the search' };
  return new AppError('invalid_request', {
    message: `This filter had ${message}: ${names.join(', ')}. Narrow it with created_after or created_before.`,
    details: { issues: names.map((path) => ({ path, ...issue, received: filter[path] })) },
    cause,
  });
}
