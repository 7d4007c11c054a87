// Applies prisma/migrations in order, under one lock, and writes Prisma's own history table, so that `prisma migrate`
// and this runner agree. A newcomer's install then needs no Prisma CLI.
import { createHash, randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { runMigrations } from 'bullmq';
import pg from 'pg';
import { crashPoint } from '../crash.ts';
import { rotatePartitions } from './partitions.ts';
import type { Db } from './pool.ts';

const FOLDER = new URL('../../prisma/migrations/', import.meta.url);
export const MIGRATE_APP = 'millrace_migrate';
const LOCK = "hashtext('millrace.migrate')";
const ROLES = ['millrace_client', 'millrace_flow'] as const;

export interface Migration {
  name: string;
  sql: string;
  checksum: string;
}

export async function readMigrations(): Promise<Migration[]> {
  const names = (await readdir(FOLDER, { withFileTypes: true }))
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
  return Promise.all(
    names.toSorted().map(async (name) => {
      const sql = await readFile(new URL(`${name}/migration.sql`, FOLDER), 'utf8');
      return { name, sql, checksum: createHash('sha256').update(sql).digest('hex') };
    }),
  );
}

/** Brings the database at `url` (as its owner) up to date. Any number of processes may call it at once. */
export async function migrate(url: string, log: (line: string) => void): Promise<void> {
  const client = new pg.Client({
    connectionString: url,
    application_name: MIGRATE_APP,
    connectionTimeoutMillis: 10_000,
  });
  await client.connect();
  try {
    await assertVersion(client);
    await client.query(`select pg_advisory_lock(${LOCK})`);
    await makeRoles(client);
    const done = await history(client);
    for (const migration of await readMigrations()) {
      assertUnchanged(migration, done.get(migration.name));
      if (done.has(migration.name)) continue;
      await apply(client, migration);
      log(`migrated: ${migration.name}`);
    }
    await migrateQueue(client);
    // So that a start which may not migrate can see that it need not.
    await client.query('grant select on _prisma_migrations to millrace_flow');
    await rotatePartitions(client as Db);
  } finally {
    await client.end();
  }
}

/** @param applied the checksum it had when it was applied, if it was */
export function assertUnchanged({ name, checksum }: Migration, applied: string | undefined): void {
  if (applied === undefined || applied === checksum) return;
  throw new Error(
    `The migration ${name} was changed after it was applied here. Restore its file, or begin with an empty database or data folder.`,
  );
}

/** @throws Error for a server that lacks what the roles need: `grant … with set true`, of PostgreSQL 16 */
async function assertVersion(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ number: string; name: string }>(
    `select current_setting('server_version_num') as number, current_setting('server_version') as name`,
  );
  if (Number(rows[0]?.number) < 160_000)
    throw new Error(`DATABASE_URL leads to PostgreSQL ${rows[0]?.name}. Millrace needs 16 or newer.`);
}

/** Roles belong to the cluster, so two databases may be migrated at once: the loser of the race finds them made. */
async function makeRoles(client: pg.Client): Promise<void> {
  for (const role of ROLES) {
    try {
      await client.query(`do $$ begin
        perform pg_advisory_xact_lock(hashtext('millrace.roles'));
        if not exists (select from pg_roles where rolname = '${role}') then
          create role ${role} nologin nosuperuser nobypassrls;
        end if;
        if not pg_has_role(current_user, '${role}', 'set') then
          grant ${role} to current_user with set true, inherit false;
        end if;
      exception when unique_violation or duplicate_object then null;
      end $$`);
    } catch (error) {
      throw new Error(
        `The database user may not make the role ${role}. Let an administrator run: ${await makingOf(client)}`,
        { cause: error },
      );
    }
  }
}

/** What is left to do for all roles, as statements. */
async function makingOf(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ me: string; there: string[] }>(
    `select format('%I', current_user::text) as me, array(select rolname::text from pg_roles where rolname = any($1)) as there`,
    [ROLES],
  );
  const { me = '<this user>', there = [] } = rows[0] ?? {};
  const made = ROLES.filter((role) => !there.includes(role)).map((role) => `create role ${role} nologin; `);
  return `${made.join('')}grant ${ROLES.join(', ')} to ${me} with set true, inherit false;`;
}

async function history(client: pg.Client): Promise<Map<string, string>> {
  await client.query(`create table if not exists _prisma_migrations (
    id varchar(36) primary key, checksum varchar(64) not null, finished_at timestamptz, migration_name varchar(255) not null,
    logs text, rolled_back_at timestamptz, started_at timestamptz not null default now(),
    applied_steps_count integer not null default 0)`);
  const { rows } = await client.query<{ migration_name: string; checksum: string }>(
    'select migration_name, checksum from _prisma_migrations where finished_at is not null and rolled_back_at is null',
  );
  return new Map(rows.map((row) => [row.migration_name, row.checksum]));
}

/** One migration is one transaction: a process that dies half-way leaves nothing behind. */
async function apply(client: pg.Client, { name, sql, checksum }: Migration): Promise<void> {
  await client.query('begin');
  await client.query(sql);
  crashPoint('migrate-half');
  await client.query(
    `insert into _prisma_migrations (id, checksum, finished_at, migration_name, applied_steps_count) values ($1, $2, now(), $3, 1)`,
    [randomUUID(), checksum, name],
  );
  await client.query('commit');
}

/** BullMQ's own schema, made by its own migrations and opened to the flow role, which makes a sequence a queue in it. */
async function migrateQueue(client: pg.Client): Promise<void> {
  await client.query(`
    create schema if not exists bullmq;
    grant usage, create on schema bullmq to millrace_flow;
    alter default privileges in schema bullmq grant select, insert, update, delete on tables to millrace_flow;
    alter default privileges in schema bullmq grant usage, select, update on sequences to millrace_flow`);
  await runMigrations(client as never, 'bullmq');
}
