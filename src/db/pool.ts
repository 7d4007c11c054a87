// The two pools of a process. Each connection takes its role as it starts, so no statement can run as the owner.
import pg from 'pg';

export type Role = 'millrace_client' | 'millrace_flow';
export type Pool = pg.Pool;
/** Anything that runs one statement: a pool, or a connection inside a transaction. */
export type Db = Pick<pg.Pool, 'query'>;

/**
 * A connection inside a transaction. Statements go out at once, one behind the other, without waiting for answers, and
 * the server does them in that order; so what can be asked together costs one round trip, which is time with locks held.
 */
export interface Tx extends Db {
  /**
   * A write that nobody waits for: if it fails, the transaction does, with its error. What it answers is for whoever wants it
   * once the transaction is over.
   */
  send(statement: pg.QueryConfig): Promise<pg.QueryResult>;
}

const INT8 = 20;
const INT8_ARRAY = 1016;

/** bigint columns as JavaScript's bigint; everything else as pg does it. */
const types = {
  getTypeParser(oid: number, format?: 'text' | 'binary'): unknown {
    if (oid === INT8) return BigInt;
    if (oid === INT8_ARRAY) {
      const parse = pg.types.getTypeParser(oid as never, 'text') as (text: string) => string[];
      return (text: string) => parse(text).map(BigInt);
    }
    return pg.types.getTypeParser(oid as never, format as never);
  },
};

// A process frozen inside a transaction must not stall its neighbours: the server ends what idles with locks held.
const SETTINGS =
  '-c timezone=UTC -c lock_timeout=10s -c idle_in_transaction_session_timeout=10s -c statement_timeout=60s -c search_path=public';

/**
 * Whatever the flow asks is answered from an index: a short list joined to rows by their keys, or a partial index that holds
 * just what is open. Said, since the planner would now and then read a whole table instead: of a month's new partition it
 * has no statistics yet, and what it knows of a column like `jobs.slot` was true a minute ago.
 */
const BY_INDEX = '-c enable_hashjoin=off -c enable_mergejoin=off -c enable_seqscan=off';

/** A client's reads share few connections: one question that would take longer must not keep the others waiting. */
export const CLIENT_STATEMENT_MS = 5_000;

/** Past the server's own limit of a statement: only a server that is no longer there is as silent. */
const SILENCE_MS = 65_000;

/** @param options.silenceMs how long a statement's answer may take before its connection is given up as dead */
export function openPool(
  url: string,
  role: Role,
  options: { max: number; onError: (error: Error) => void; silenceMs?: number },
): Pool {
  const pool = new pg.Pool({
    connectionString: url,
    max: options.max,
    options: `-c role=${role} ${SETTINGS} ${role === 'millrace_client' ? `-c statement_timeout=${CLIENT_STATEMENT_MS}` : BY_INDEX}`,
    application_name: role,
    connectionTimeoutMillis: 10_000,
    idleTimeoutMillis: 60_000,
    // A server that vanished says nothing, so idle connections are probed at once and not after the system's two hours.
    keepAlive: true,
    keepAliveInitialDelayMillis: 5_000,
    query_timeout: options.silenceMs ?? SILENCE_MS,
    pipeline: true,
    types: types as pg.CustomTypesConfig,
  });
  pool.on('error', options.onError);
  pool.on('connect', (client) => client.on('error', options.onError));
  return pool;
}

/**
 * Whoever is, or may become, a superuser, a role with BYPASSRLS or the owner of the tables is not held by the row policies;
 * nor, of those who serve clients, who may become millrace_flow, which by its policies sees every account.
 * @param login `own` if the URL was given for this role: then the login itself must be held by them too, since it could
 *   leave the role. DATABASE_URL's is the owner's, which could by its nature (docs/database.md).
 * @throws Error if the pool's role is not the one asked for, or one that the row policies would not hold.
 */
export async function assertRole(pool: Pool, role: Role, login: 'own' | 'owner'): Promise<void> {
  const { rows } = await pool.query<{ name: string; login: string; free: boolean; master: boolean }>(
    `
    with masters as (select oid from pg_roles where rolsuper or rolbypassrls
      union select relowner from pg_class where oid = to_regclass('public.jobs')
      union select oid from pg_roles where $1 = 'millrace_client' and rolname = 'millrace_flow')
    select current_user as name, session_user as login,
      coalesce(bool_or(pg_has_role(current_user, oid, 'member')), false) as free,
      coalesce(bool_or(pg_has_role(session_user, oid, 'member')), false) as master
    from masters`,
    [role],
  );
  const is = rows[0];
  const free = is?.name !== role || is.free;
  if (!free && !(login === 'own' && is.master)) return;
  throw new Error(
    `The database connection runs as "${free ? is?.name : is.login}", which could bypass the row policies. ` +
      `Millrace needs ${role}, a role that owns nothing; run "npm run migrate", or see docs/database.md.`,
  );
}
