// Code and schema of different versions: code runs on a newer schema, and is not started on an older one.
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { readMigrations } from '../../src/db/migrate.ts';
import { readConfig } from '../../src/config.ts';
import { readCredentials } from '../../src/platform.ts';
import { type Checkout, copyCheckout } from '../support/checkout.ts';
import { chat, openClient } from '../support/client.ts';
import { type Command, run, runNode } from '../support/command.ts';
import { type Installation, installOn } from '../support/installation.ts';
import { shareTestPostgres, type SharedPostgres } from '../support/postgres.ts';
import { spawnApi, spawnWorker } from '../support/spawn.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const ROLES = ['src/api/main.ts', 'src/workers/main.ts', 'src/main.ts'];
const NEXT = '9999_next';
const LOGIN = 'a login without rights';

let postgres: SharedPostgres;
let last: string;
const installations: Installation[] = [];
const checkouts: Checkout[] = [];
beforeAll(async () => {
  postgres = await shareTestPostgres(inject('postgresFolder'));
  last = (await readMigrations()).at(-1)?.name ?? '';
});
afterAll(async () => {
  for (const checkout of checkouts) await checkout.remove();
  const [one] = installations;
  await one?.sql(`drop role if exists "${LOGIN}"`);
  for (const installation of installations) await installation.remove();
});

/** A database as another version's migrations leave it. */
async function installAs(other: Parameters<typeof copyCheckout>[0]): Promise<Installation> {
  const checkout = await copyCheckout(other);
  checkouts.push(checkout);
  const databaseUrl = await postgres.createDatabase();
  const script = `import { migrate } from '${checkout.folder}/src/db/migrate.ts'; await migrate(process.argv[1], console.log);`;
  const migrated = run(process.execPath, ['--input-type=module', '-e', script, databaseUrl], {});
  expect(await migrated.ended, migrated.err.join('\n')).toBe(0);
  const installation = await installOn({ postgres, databaseUrl, redisUrl: null, simUrl: inject('simUrl') });
  installations.push(installation);
  return installation;
}

async function refusal(command: Command): Promise<string> {
  expect(await command.ended).toBe(1);
  return command.err.filter((line) => line.startsWith('millrace: ')).join('\n');
}

async function expectWork(installation: Installation, env: Record<string, string> = {}): Promise<void> {
  const api = await spawnApi(installation, env);
  const worker = await spawnWorker(installation, { env });
  const credentials = await readCredentials(readConfig(installation.env));
  const client = openClient(api.url, credentials?.api_key ?? '');
  expect((await client.run(chat())).status).toBe('succeeded');
  const image = await client.run({ model: 'sim/image', input: { prompt: 'a mill', size: '64x64' } });
  expect(image.status).toBe('succeeded');
  const audit = runNode(['src/audit.ts'], { env: { ...installation.env, ...env } });
  expect(await audit.ended, audit.out.join('\n')).toBe(0);
  expect(await Promise.all([worker.drain(), api.drain()])).toEqual([0, 0]);
}

/** One who may work and not change a table. */
async function withoutRights(installation: Installation): Promise<Record<string, string>> {
  const name = `"${LOGIN}"`;
  const { length } = await installation.sql('select from pg_roles where rolname = $1', [LOGIN]);
  if (length === 0) await installation.sql(`create role ${name} login password 'x'`);
  await installation.sql(`grant millrace_client, millrace_flow to ${name} with set true, inherit false`);
  const url = new URL(installation.env['DATABASE_URL'] ?? '');
  return { DATABASE_URL: Object.assign(url, { username: LOGIN, password: 'x' }).href };
}

describe('an older schema', () => {
  let installation: Installation;
  beforeAll(async () => {
    installation = await installAs({ without: [last] });
  });

  it.each(ROLES)('is a reason for %s not to start where MIGRATE is off', async (file) => {
    const env = { ...installation.env, MIGRATE: 'off' };
    expect(await refusal(runNode([file], { env }))).toMatch(
      new RegExp(`is older than this version: it lacks ${last}\\. Run npm run migrate .*MIGRATE=off`),
    );
    const [left] = await installation.sql('select 1 from _prisma_migrations where migration_name = $1', [
      last,
    ]);
    expect(left).toBeUndefined();
  });

  it('is a reason not to start for whose login may not change it', async () => {
    const env = { ...installation.env, ...(await withoutRights(installation)) };
    expect(await refusal(runNode(['src/workers/main.ts'], { env }))).toMatch(
      new RegExp(`it lacks ${last}\\. Run npm run migrate .*as the role that owns the tables`),
    );
  });

  it('is brought up to date by npm run migrate, by however many at once, and then serves', async () => {
    const env = { ...installation.env, MIGRATE: 'off' };
    const all = [1, 2, 3].map(() => runNode(['src/migrate.ts'], { env }));
    for (const command of all) {
      expect(await command.ended, command.err.join('\n')).toBe(0);
      expect(command.out).toEqual(['The database is up to date.']);
    }
    const applied = await installation.sql(
      `select migration_name as name, count(*)::int as times from _prisma_migrations group by 1 order by 1`,
    );
    expect(applied).toEqual((await readMigrations()).map(({ name }) => ({ name, times: 1 })));
    await expectWork(installation, { MIGRATE: 'off' });
    await expectWork(installation, await withoutRights(installation));
  });
});

describe('a newer schema', () => {
  it('is run on by the code of before, which says so and leaves it as it is', async () => {
    const installation = await installAs({
      besides: {
        [NEXT]: `create table next_things (id text primary key);
          alter table jobs add column next_thing text; alter table routes add column next_thing integer not null default 1;`,
      },
    });
    await expectWork(installation);
    await expectWork(installation, { MIGRATE: 'off' });
    const started = runNode(['src/workers/main.ts'], {
      env: { ...installation.env, MIGRATE: 'off', LOG_LEVEL: 'info' },
    });
    await started.said(new RegExp(`the schema is newer than this version: ${NEXT}`));
    started.signal('SIGTERM');
    expect(await started.ended).toBe(0);
    expect(await tables(installation)).toContain('next_things');
  });

  it('is refused if a migration that both know is another there', async () => {
    const installation = await installAs({});
    await installation.sql(
      `update _prisma_migrations set checksum = repeat('0', 64) where migration_name = $1`,
      [last],
    );
    for (const MIGRATE of ['on', 'off']) {
      const env = { ...installation.env, MIGRATE };
      expect(await refusal(runNode(['src/api/main.ts'], { env }))).toMatch(
        `The migration ${last} was changed after it was applied here.`,
      );
    }
  });
});

const tables = async (installation: Installation): Promise<string[]> =>
  (
    await installation.sql<{ name: string }>(
      `select relname as name from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace`,
    )
  ).map(({ name }) => name);
