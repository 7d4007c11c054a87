// Patience with a database that is away: how it is noticed, and how long it lasts.
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { openPool, type Pool } from '../../src/db/pool.ts';
import { isConnectionError, persistently, transaction } from '../../src/db/transaction.ts';
import { install, type Installation } from '../support/platform.ts';
import { openPlatform } from '../../src/platform.ts';
import { readConfig } from '../../src/config.ts';
import { eventually } from '../support/eventually.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';

let installation: Installation;
beforeAll(async () => {
  installation = await install('postgres');
});
afterAll(() => installation.remove());

describe('a database that vanished without a word', () => {
  let proxy: TcpProxy;
  const pools: Pool[] = [];
  const open = (options: { silenceMs?: number } = {}): Pool => {
    const url = proxy.through(installation.env['DATABASE_URL'] as string);
    const pool = openPool(url, 'millrace_flow', { max: 2, onError: () => {}, ...options });
    pools.push(pool);
    return pool;
  };
  beforeAll(async () => {
    proxy = await startTcpProxy(installation.env['DATABASE_URL'] as string);
  });
  afterAll(async () => {
    await Promise.all(pools.map((pool) => pool.end()));
    await proxy.close();
  });

  it('is given up after a while, like any other that is away, and found again when it is back', async () => {
    const pool = open({ silenceMs: 300 });
    const asked = () => transaction(pool, (tx) => tx.query<{ n: number }>('select 1 as n'));
    await asked();
    proxy.trouble({ blackHole: true });
    const error = await asked().catch((thrown: unknown) => thrown);
    expect(isConnectionError(error)).toBe(true);
    const patient = persistently(asked, { forMs: 30_000 });
    proxy.trouble({});
    expect((await patient).rows).toEqual([{ n: 1 }]);
  });

  it('is waited for longer than the server itself lets a statement take', async () => {
    const pool = open();
    const { rows } = await pool.query<{ ms: number }>(
      `select setting::int as ms from pg_settings where name = 'statement_timeout'`,
    );
    const { query_timeout, keepAliveInitialDelayMillis } = pool.options;
    expect(query_timeout).toBeGreaterThan(rows[0]?.ms ?? Infinity);
    expect(query_timeout).toBeLessThan(120_000);
    expect(keepAliveInitialDelayMillis).toBeLessThanOrEqual(10_000);
  });
});

describe('persistently', () => {
  afterEach(() => vi.useRealTimers());

  it.each([86_400_000, -86_400_000])('takes no notice of a step of the clock by %d ms', async (step) => {
    vi.useFakeTimers({ toFake: ['Date'] });
    let tries = 0;
    const contended = () => {
      vi.setSystemTime(Date.now() + step);
      return ++tries < 3
        ? Promise.reject(Object.assign(new Error('busy'), { code: '55P03' }))
        : Promise.resolve();
    };
    await persistently(contended, { forMs: 30_000 });
    expect(tries).toBe(3);
    // Nor does a step back make it endless.
    tries = -1_000_000;
    await expect(persistently(contended, { forMs: 100 })).rejects.toThrow('busy');
  });
});

it('a start waits for the first one for longer than for other locks', { timeout: 60_000 }, async () => {
  const first = new pg.Client({ connectionString: installation.env['DATABASE_URL'] as string });
  await first.connect();
  await first.query(`select pg_advisory_lock(hashtext('millrace.first-start'))`);
  const starting = openPlatform({ config: readConfig(installation.env), quiet: true });
  const failed = starting.then(
    () => null,
    (error: unknown) => error,
  );
  const waited = async () => {
    const [row] = await installation.sql<{ seconds: number }>(
      `select extract(epoch from clock_timestamp() - query_start)::float8 as seconds from pg_stat_activity
        where datname = current_database() and wait_event = 'advisory'`,
    );
    return row?.seconds ?? 0;
  };
  const outcome = await Promise.race([
    failed,
    eventually(async () => (await waited()) > 10.5, { what: 'it waits', withinMs: 30_000 }).then(
      () => 'waits',
    ),
  ]);
  await first.end();
  expect(outcome).toBe('waits');
  const platform = await starting;
  await platform.ctx.close();
  await platform.leave();
});
