import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { findPostmaster } from '../../src/embedded/postgres/server.ts';
import { ask, processesNaming } from '../embedded/folder.ts';
import { alive, stat } from '../embedded/process.ts';
import type { TestPostgres } from './postgres.ts';
import { shareTestPostgres, startTestPostgres } from './postgres.ts';
import { findRedis } from './redis-programs.ts';
import { startRedis } from './redis.ts';

const starter = fileURLToPath(new URL('starter.ts', import.meta.url));

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

describe('startTestPostgres', () => {
  let postgres: TestPostgres;
  beforeAll(async () => {
    postgres = await startTestPostgres();
  });
  afterAll(() => postgres.stop());

  it('makes databases for the owner, empty or from a template', async () => {
    const first = await postgres.createDatabase();
    await ask(first, 'create table seen as select current_user::text as owner');
    const name = new URL(first).pathname.slice(1);
    const copies = await Promise.all([postgres.createDatabase(name), postgres.createDatabase(name)]);
    expect(new Set([first, ...copies]).size).toBe(3);
    for (const copy of copies) expect(await ask(copy, 'select * from seen')).toEqual([{ owner: 'millrace' }]);
    expect(await ask(postgres.superUrl(name), 'show is_superuser')).toEqual([{ is_superuser: 'on' }]);
    expect(postgres.ownerUrl(name)).toBe(first);
    expect(await ask(first, 'show fsync')).toEqual([{ fsync: 'off' }]);
  });

  it.each(['fast', 'immediate'] as const)(
    'keeps what was committed, and the address, over a %s restart',
    async (mode) => {
      const url = await postgres.createDatabase();
      await ask(url, 'create table kept as select 1 as one');
      const before = await ask(url, 'select pg_postmaster_start_time()::text as at');
      const other = await shareTestPostgres(postgres.folder);
      await other.restart(mode);
      expect(await ask(url, 'table kept')).toEqual([{ one: 1 }]);
      expect(await ask(url, 'select pg_postmaster_start_time()::text as at')).not.toEqual(before);
    },
  );

  it('is killed with all its sessions, and has what was committed, where it was', async () => {
    const url = await postgres.createDatabase();
    await ask(url, 'create table kept as select 1 as one');
    const sleeping = ask(url, 'select pg_sleep(60)');
    const cut = expect(sleeping).rejects.toThrow(/terminat|ECONNRESET|EPIPE/);
    const home = join(postgres.folder, 'home');
    const before = await findPostmaster(home);
    await postgres.crash();
    await cut;
    expect(alive(before?.pid ?? 0)).toBe(false);
    expect(await ask(url, 'table kept')).toEqual([{ one: 1 }]);
  });
});

describe('startRedis', () => {
  // The first time on a machine it comes from Debian's mirror.
  beforeAll(async () => {
    await findRedis();
  }, 300_000);

  it('is a server of its own that refuses writes when full, and forgets or keeps at a restart', async () => {
    const [one, two] = await Promise.all([startRedis(), startRedis({ appendonly: true })]);
    try {
      expect(one.port).not.toBe(two.port);
      expect(await one.cli('config', 'get', 'maxmemory-policy')).toBe('maxmemory-policy\nnoeviction');
      await one.cli('set', 'water', 'high');
      const { pid } = one;
      await one.restart({ keepData: true });
      expect([await one.cli('get', 'water'), alive(pid), alive(one.pid)]).toEqual(['high', false, true]);
      await one.restart({ keepData: false });
      expect(await one.cli('dbsize')).toBe('0');
      expect(await two.cli('config', 'get', 'appendonly')).toBe('appendonly\nyes');
      await two.cli('set', 'flour', 'fine');
      await two.crash();
      expect(await two.cli('get', 'flour')).toBe('fine');
      await expect(one.cli('nonsense')).rejects.toThrow(/unknown command/);
    } finally {
      await Promise.all([one.stop(), two.stop()]);
    }
    expect([alive(one.pid), alive(two.pid)]).toEqual([false, false]);
  });
});

describe('a run that was killed', () => {
  it('with all that was to clean up after it is cleared away by the next one, and one that lives is not', async () => {
    const child = fork(starter, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    const [left] = await once(child, 'message');
    const {
      folder,
      postmaster,
      redis,
      url,
    }: { folder: string; url: string; postmaster: number; redis: number } = left;
    // Durable, as this one asked for: not what tests get by default.
    expect(await ask(url, 'show fsync')).toEqual([{ fsync: 'on' }]);
    const neighbour = await startRedis();
    expect([alive(postmaster), alive(redis), existsSync(folder)]).toEqual([true, true, true]);
    // As if the machine's memory had run out, or its power: nobody is left to clean up at once (undertaker.ts).
    const undertakers = processesNaming('undertaker').filter((pid) => stat(pid).parent === child.pid);
    expect(undertakers.length).toBeGreaterThanOrEqual(3);
    for (const pid of [...undertakers, child.pid ?? 0]) process.kill(pid, 'SIGKILL');
    await once(child, 'exit');

    const next = [await startTestPostgres(), await startRedis()];
    expect([alive(postmaster), existsSync(folder)]).toEqual([false, false]);
    expect(await neighbour.cli('ping')).toBe('PONG');
    await Promise.all([...next, neighbour].map((server) => server.stop()));
    expect(alive(redis)).toBe(false);
  });
});
