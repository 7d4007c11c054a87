// A database user who may make no roles is told in one go what an administrator has to run.
import pg from 'pg';
import { expect, inject, it } from 'vitest';
import { migrate } from '../../src/db/migrate.ts';
import { shareTestPostgres } from '../support/postgres.ts';

it('names the statements for both roles, after which it works', async () => {
  const postgres = await shareTestPostgres(inject('postgresFolder'));
  const url = new URL(await postgres.createDatabase());
  const name = url.pathname.slice(1);
  const master = new pg.Client({ connectionString: postgres.superUrl(name) });
  await master.connect();
  try {
    await master.query(`create role "Help less" login password 'x'`);
    await master.query(`alter database ${name} owner to "Help less"`);
    const theirs = Object.assign(new URL(url), { username: 'Help less', password: 'x' }).href;
    const refusal = await migrate(theirs, () => {}).then(
      () => null,
      (error: Error) => error.message,
    );
    const [, statements] = /Let an administrator run: (.*;)$/.exec(refusal ?? '') ?? [];
    expect(statements).toBe(
      'grant millrace_client, millrace_flow to "Help less" with set true, inherit false;',
    );
    await master.query(statements ?? '');
    await migrate(theirs, () => {});
  } finally {
    await master.query(`drop owned by "Help less" cascade`);
    await master.query(`alter database ${name} owner to current_user`);
    await master.query(`drop role "Help less"`);
    await master.end();
  }
});
