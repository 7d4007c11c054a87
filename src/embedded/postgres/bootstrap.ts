// What a fresh cluster needs before anybody can use it: the owner's role and database.
import { realpathSync } from 'node:fs';
import pg from 'pg';
import { EmbeddedError } from '../error.ts';
import type { Secrets } from './cluster.ts';
import { dataFolder, readSecrets } from './cluster.ts';

export const OWNER = 'millrace';
const DATABASE = 'millrace';

export const ownerUrl = (secrets: Secrets, port: number, database = DATABASE) =>
  `postgres://${OWNER}:${secrets.owner}@127.0.0.1:${port}/${database}`;

export const superUrl = (secrets: Secrets, port: number, database = 'postgres') =>
  `postgres://postgres:${secrets.superuser}@127.0.0.1:${port}/${database}`;

/**
 * Makes the owner (LOGIN and CREATEROLE, neither superuser nor above row-level security) and the database, where they
 * are missing; answers the owner's URL. Every step may have been the last one of a process that was killed.
 */
export async function bootstrap(home: string, port: number): Promise<string> {
  const secrets = await readSecrets(home);
  const client = new pg.Client({
    connectionString: superUrl(secrets, port),
    connectionTimeoutMillis: 10_000,
  });
  await client.connect();
  try {
    const { rows } = await client.query<{ folder: string; role: boolean; database: boolean }>(
      `select current_setting('data_directory') as folder,
              exists (select from pg_roles where rolname = $1) as role,
              exists (select from pg_database where datname = $2) as database`,
      [OWNER, DATABASE],
    );
    const found = rows[0];
    // A copied folder has the same passwords: that of the original must not be taken for ours.
    if (!found || realpathSync(found.folder) !== dataFolder(home)) {
      throw new EmbeddedError(
        `port ${port} is answered by the PostgreSQL of ${found?.folder}, not of ${home}`,
      );
    }
    if (!found.role) await client.query(`create role ${OWNER} login createrole password '${secrets.owner}'`);
    if (!found.database) await client.query(`create database ${DATABASE} owner ${OWNER}`);
  } finally {
    await client.end();
  }
  return ownerUrl(secrets, port);
}
