// Whether this code can run on the schema that is there. Code runs on a newer one, whose migrations only add; never on an
// older one, which is brought up to date first: by whoever starts, or where it may not, by `npm run migrate`.
import { assertSchemaCompatibility, LATEST_SCHEMA_VERSION } from 'bullmq';
import pg from 'pg';
import { assertUnchanged, MIGRATE_APP, migrate, readMigrations } from './migrate.ts';

export interface SchemaOptions {
  /** False: a schema that is older is a reason not to start. */
  mayMigrate: boolean;
  log(line: string): void;
}

/** @throws Error that says what to run, where the schema stays older than this code */
export async function bringSchema(url: string, options: SchemaOptions): Promise<void> {
  try {
    await bring(url, options);
  } catch (error) {
    if ((error as { code?: unknown }).code !== NOT_ALLOWED) throw error;
    throw new Error(
      `The login of DATABASE_URL can neither bring the schema up to date nor see that it is (${(error as Error).message}). ` +
        'Run npm run migrate as the role that owns the tables.',
      { cause: error },
    );
  }
}

const NOT_ALLOWED = '42501';

async function bring(url: string, { mayMigrate, log }: SchemaOptions): Promise<void> {
  const found = await lookAtSchema(url);
  if (mayMigrate && found.ours) return migrate(url, log);
  if (found.missing.length > 0) {
    throw new Error(
      `The schema of DATABASE_URL is older than this version: it lacks ${found.missing.join(', ')}. ` +
        `Run npm run migrate of this version, ${mayMigrate ? 'as the role that owns the tables' : 'since MIGRATE=off leaves that to you'}.`,
    );
  }
  if (found.newer.length > 0) log(`the schema is newer than this version: ${found.newer.join(', ')}`);
}

interface Schema {
  /** Whether this login is, or may act as, the owner; also where there is no table yet. */
  ours: boolean;
  /** What this code knows and the database does not have; and the other way round. By name. */
  missing: string[];
  newer: string[];
}

async function lookAtSchema(url: string): Promise<Schema> {
  const client = new pg.Client({
    connectionString: url,
    application_name: MIGRATE_APP,
    connectionTimeoutMillis: 10_000,
  });
  await client.connect();
  try {
    const { rows } = await client.query<{ made: boolean; ours: boolean; flow: boolean }>(
      `select owner is not null as made, owner is null or pg_has_role(owner, 'usage') as ours,
          exists (select from pg_roles where rolname = 'millrace_flow' and pg_has_role(oid, 'set')) as flow
        from (select (select relowner from pg_class where oid = to_regclass('public._prisma_migrations')) as owner) t`,
    );
    const is = rows[0] ?? { made: false, ours: true, flow: false };
    if (!is.made) {
      const known = await readMigrations();
      return { ours: true, missing: known.map(({ name }) => name), newer: [] };
    }
    // Who is not the owner reads as the platform does.
    if (!is.ours && is.flow) await client.query('set role millrace_flow');
    return { ours: is.ours, ...(await compare(client)) };
  } finally {
    await client.end();
  }
}

async function compare(client: pg.Client): Promise<Pick<Schema, 'missing' | 'newer'>> {
  const { rows } = await client.query<{ name: string; checksum: string }>(
    'select migration_name as name, checksum from _prisma_migrations where finished_at is not null and rolled_back_at is null order by 1',
  );
  const there = new Map(rows.map(({ name, checksum }) => [name, checksum]));
  const known = await readMigrations();
  for (const migration of known) assertUnchanged(migration, there.get(migration.name));
  const missing = known.filter(({ name }) => !there.has(name)).map(({ name }) => name);
  const names = new Set(known.map(({ name }) => name));
  if (missing.length === 0 && (await assertSchemaCompatibility(client as never)) < LATEST_SCHEMA_VERSION)
    missing.push(`version ${LATEST_SCHEMA_VERSION} of the queue's tables`);
  return { missing, newer: [...there.keys()].filter((name) => !names.has(name)) };
}
