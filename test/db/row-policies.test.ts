// The database's own wall between accounts, for the day the code in front of it is wrong.
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { openPool, type Pool } from '../../src/db/pool.ts';
import { readAs } from '../../src/db/transaction.ts';
import { openPlatform } from '../../src/platform.ts';
import { chat } from '../support/client.ts';
import { openGround } from '../support/ground.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { delivery, makeEndpoint } from '../support/webhooks.ts';
import { shareTestPostgres } from '../support/postgres.ts';

let millrace: TestPlatform;
let receiver: Receiver;
let accounts: [TestAccount, TestAccount];
/** One connection, as clients' reads have it. */
let pool: Pool;
beforeAll(async () => {
  receiver = await startReceiver();
  millrace = await startPlatform({ env: { EGRESS_ALLOW: '127.0.0.1' } });
  accounts = [await millrace.account(), await millrace.account()];
  for (const account of accounts) {
    await account.run(chat('kept apart'));
    const { id } = await makeEndpoint(account, receiver.url('/'));
    await account.run({ model: 'sim/image', input: { prompt: 'kept apart' } });
    await delivery(account, id, ({ status }) => status === 'delivered');
  }
  const url = millrace.env['DATABASE_URL'] ?? '';
  pool = openPool(url, 'millrace_client', { max: 1, onError: () => {} });
});
afterAll(async () => {
  await pool.end();
  await millrace.stop();
  await receiver.close();
});

interface Table {
  name: string;
  column: 'account_id' | 'id';
  secured: boolean;
  partition: boolean;
  readable: boolean;
}

/** Every table whose rows belong to an account. */
const tenantTables = (): Promise<Table[]> =>
  millrace.sql<Table>(`
    select c.relname as name, case when c.relname = 'accounts' then 'id' else 'account_id' end as column,
      c.relrowsecurity as secured, c.relispartition as partition,
      has_any_column_privilege('millrace_client', c.oid, 'select') as readable
    from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and (c.relname = 'accounts'
      or exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'account_id' and not a.attisdropped))
    order by 1`);

describe('a connection for clients', () => {
  it('sees no row of any account before it is set to one', async () => {
    const tables = await tenantTables();
    expect(tables.length).toBeGreaterThanOrEqual(14);
    const readable = tables.filter((table) => table.readable);
    expect(readable.map(({ name }) => name)).toEqual(
      expect.arrayContaining([
        'accounts',
        'jobs',
        'lots',
        'ledger_transactions',
        'ledger_lines',
        'events',
        'artifacts',
        'attempts',
        'deltas',
        'endpoints',
        'deliveries',
        'delivery_attempts',
      ]),
    );
    for (const { name, secured } of readable) {
      expect(secured, name).toBe(true);
      const all = await millrace.sql<{ count: number }>(`select count(*)::int as count from ${name}`);
      const { rows } = await pool.query(`select count(*)::int as count from ${name}`);
      expect(rows[0]?.count, name).toBe(0);
      // The deltas of jobs that ended may be gone already; of everything else there is something to be hidden.
      if (name !== 'deltas') expect(all[0]?.count, name).toBeGreaterThan(0);
    }
    for (const { name } of tables.filter((table) => !table.readable))
      await expect(pool.query(`select 1 from ${name}`), name).rejects.toThrow('permission denied');
  });

  it('sees the rows of the account it is set to, and no other', async () => {
    for (const { name, column } of (await tenantTables()).filter(
      (table) => table.readable && !table.partition,
    )) {
      for (const account of accounts) {
        const seen = await readAs(
          pool,
          account.id,
          async (tx) => (await tx.query(`select distinct ${column} as owner from ${name}`)).rows,
        );
        for (const { owner } of seen) expect(owner, name).toBe(account.id);
        if (name !== 'deltas') expect(seen, name).toHaveLength(1);
      }
    }
  });

  it('sees nothing of what is set wrong, and cannot be set by what a client sends', async () => {
    for (const setting of ['', '%', 'acc_', "' or true --", 'null'])
      await expect(readAs(pool, setting, async () => null)).rejects.toThrow('not an account id');
    const { rows } = await pool.query(
      `select set_config('millrace.account_id', '%', true), (select count(*)::int from jobs) as count`,
    );
    expect(rows[0]?.count).toBe(0);
  });

  it('sees no secret, not even its own', async () => {
    for (const column of ['secret', 'old_secret', '*'])
      await expect(
        readAs(pool, accounts[0].id, (tx) => tx.query(`select ${column} from endpoints`)),
        column,
      ).rejects.toThrow('permission denied');
  });

  it('writes nothing', async () => {
    const rights = await millrace.sql<{ right: string }>(`
      select c.relname || ' ' || p as right from pg_class c, unnest(array['insert', 'update', 'delete', 'truncate']) p
      where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and has_table_privilege('millrace_client', c.oid, p)`);
    expect(rights).toEqual([]);
    await readAs(pool, accounts[0].id, async (tx) => {
      await expect(tx.query('update jobs set priority = 0')).rejects.toThrow(/permission denied|read-only/);
    }).catch(() => {});
  });

  it('forgets whose it was: a thousand reads of two accounts by turns, some of which fail', async () => {
    const one = async (i: number): Promise<void> => {
      const account = accounts[i % 2] as TestAccount;
      const fails = i % 7 === 0;
      const read = readAs(pool, account.id, async (tx) => {
        const { rows } = await tx.query<{ id: string }>('select id from accounts');
        if (fails) await tx.query('select 1 / 0');
        return rows.map(({ id }) => id);
      });
      if (fails) await expect(read).rejects.toThrow('division by zero');
      else expect(await read).toEqual([account.id]);
      if (i % 5 > 0) return;
      const { rows } = await pool.query(
        `select coalesce(current_setting('millrace.account_id', true), '') as setting, (select count(*)::int from accounts) as count`,
      );
      expect(rows[0]).toEqual({ setting: '', count: 0 });
    };
    for (let i = 0; i < 1_000; i += 50) await Promise.all(Array.from({ length: 50 }, (_, j) => one(i + j)));
    expect(pool.totalCount).toBe(1);
  });

  it('forgets it also behind the API: a thousand requests of two accounts by turns', async () => {
    const { client } = millrace.platform.ctx;
    // What pg reads each time it wants another connection.
    const { options } = client as unknown as { options: { max: number } };
    const max = options.max;
    options.max = 1;
    try {
      for (let i = 0; i < 1_000; i += 50) {
        await Promise.all(
          Array.from({ length: 50 }, async (_, j) => {
            const [account, other] = j % 2 === 0 ? accounts : [accounts[1], accounts[0]];
            const path =
              j % 3 === 0 ? '/v1/account' : j % 3 === 1 ? '/v1/transactions' : '/v1/jobs?limit=100';
            const { status, body } = await account.get(path);
            expect(status).toBe(200);
            if (path === '/v1/account') expect(body.id).toBe(account.id);
            else expect(body.data.length).toBeGreaterThan(0);
            expect(JSON.stringify(body)).not.toContain(other.id);
          }),
        );
      }
    } finally {
      options.max = max;
    }
  });
});

describe('the roles', () => {
  it('have no way past the policies', async () => {
    const roles = await millrace.sql(`
      select rolname, rolsuper, rolbypassrls, rolcanlogin, rolcreaterole from pg_roles where rolname like 'millrace_%' order by 1`);
    const plain = { rolsuper: false, rolbypassrls: false, rolcanlogin: false, rolcreaterole: false };
    expect(roles).toEqual(['millrace_client', 'millrace_flow'].map((rolname) => ({ rolname, ...plain })));
  });
});

describe('what the flows write', () => {
  it('they cannot take back', async () => {
    const rights = await millrace.sql<{ right: string }>(`
      select c.relname || ' ' || p as right from pg_class c, unnest(array['update', 'delete', 'truncate']) p
      where c.relname in ('ledger_transactions', 'ledger_lines', 'events', 'audit_log', 'idempotency_keys')
        and has_table_privilege('millrace_flow', c.oid, p)`);
    expect(rights).toEqual([]);
  });
});

describe('a start', () => {
  const start = async (env: Record<string, string>): Promise<void> => {
    const config = readConfig({ ...millrace.env, ...env });
    const platform = await openPlatform({ config, quiet: true });
    await platform.ctx.close();
    await platform.leave();
  };

  it('with a superuser as DATABASE_URL serves clients as a role that cannot leave itself by a reset', async () => {
    const postgres = await shareTestPostgres(inject('postgresFolder'));
    const database = new URL(millrace.env['DATABASE_URL'] ?? '').pathname.slice(1);
    const config = readConfig({ ...millrace.env, DATABASE_URL: postgres.superUrl(database) });
    const { ctx, leave } = await openPlatform({ config, quiet: true });
    const look = async (): Promise<unknown> => {
      const { rows } = await ctx.client
        .query(`select current_user::text as role, current_setting('is_superuser') as super,
        row_security_active('jobs') as walled, (select count(*)::int from jobs) as jobs`);
      return rows[0];
    };
    const walled = { role: 'millrace_client', super: 'off', walled: true, jobs: 0 };
    try {
      const { rows } = await ctx.client.query(`select rolsuper from pg_roles where rolname = session_user`);
      expect(rows).toEqual([{ rolsuper: true }]);
      expect(await look()).toEqual(walled);
      for (const statement of ['reset role', 'reset all']) {
        await ctx.client.query(statement);
        expect(await look(), statement).toEqual(walled);
      }
      for (const [i, account] of accounts.entries()) {
        const seen = await readAs(ctx.client, account.id, (tx) =>
          tx.query('select distinct account_id as id from jobs'),
        );
        expect(seen.rows, String(i)).toEqual([{ id: account.id }]);
      }
      // The flows' connections are nobody's superuser either.
      const { rows: flow } = await ctx.flow.query(
        `select current_user::text as role, current_setting('is_superuser') as super`,
      );
      expect(flow).toEqual([{ role: 'millrace_flow', super: 'off' }]);
    } finally {
      await ctx.close();
      await leave();
    }
  });

  it('is refused where a role of ours was let past the policies, by itself or by what it may become', async () => {
    // Roles are the cluster's, and other tests' starts use them: these are of a cluster of its own.
    const ground = await openGround('postgres');
    const { env, sql } = ground.installation;
    try {
      await start(env);
      await sql('create role hostile_master nologin bypassrls');
      await sql('create role hostile_owner nologin');
      for (const [open, close] of [
        ['alter role millrace_client bypassrls', 'alter role millrace_client nobypassrls'],
        [
          'grant hostile_master to millrace_client with inherit false',
          'revoke hostile_master from millrace_client',
        ],
        [
          'alter table jobs owner to hostile_owner; grant hostile_owner to millrace_flow',
          'alter table jobs owner to millrace; revoke hostile_owner from millrace_flow',
        ],
      ] as const) {
        await sql(open);
        await expect(start(env), open).rejects.toThrow(
          /runs as "millrace_\w+", which could bypass the row policies/,
        );
        await sql(close);
      }
      await start(env);
    } finally {
      await ground.stop();
    }
  });

  it.each(['DATABASE_FLOW_URL', 'DATABASE_CLIENT_URL'])(
    'is refused where %s is the owner',
    async (variable) => {
      await expect(start({ [variable]: millrace.env['DATABASE_URL'] ?? '' })).rejects.toThrow(
        'runs as "millrace", which could bypass the row policies',
      );
    },
  );

  it.each(['DATABASE_FLOW_URL', 'DATABASE_CLIENT_URL'])(
    'is refused where %s is a superuser',
    async (variable) => {
      const postgres = await shareTestPostgres(inject('postgresFolder'));
      const database = new URL(millrace.env['DATABASE_URL'] ?? '').pathname.slice(1);
      await expect(start({ [variable]: postgres.superUrl(database) })).rejects.toThrow(
        /runs as "\w+", which could bypass the row policies/,
      );
    },
  );

  it('is refused where the login may pass the policies, and not where it may not', async () => {
    const owner = new URL(millrace.env['DATABASE_URL'] ?? '');
    const login = (name: string): string => {
      const url = new URL(owner);
      url.username = name;
      url.password = 'hostile';
      return url.href;
    };
    const both = 'millrace_flow, millrace_client';
    for (const [name, may, roles] of [
      ['hostile_free', 'bypassrls', both],
      ['hostile_both', '', both],
      ['hostile_flow', '', 'millrace_flow'],
      ['hostile_client', '', 'millrace_client'],
    ] as const)
      await millrace.sql(`create role ${name} login ${may} password 'hostile';
        grant ${roles} to ${name} with set true, inherit false`);
    const DATABASE_FLOW_URL = login('hostile_flow');
    try {
      // The flow's role sees every account: to a statement smuggled in it is as good as no policies.
      for (const name of ['hostile_free', 'hostile_both'])
        await expect(start({ DATABASE_CLIENT_URL: login(name), DATABASE_FLOW_URL }), name).rejects.toThrow(
          `runs as "${name}", which could bypass the row policies`,
        );
      await start({ DATABASE_CLIENT_URL: login('hostile_client'), DATABASE_FLOW_URL });
    } finally {
      await millrace.sql('drop role hostile_free, hostile_both, hostile_flow, hostile_client');
    }
  });
});
