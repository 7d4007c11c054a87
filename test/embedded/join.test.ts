// Processes come and go, and the services of their data folder live exactly as long as one of them needs them.
import { rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Folder } from './folder.ts';
import { ask, dataFolder } from './folder.ts';
import { alive, stat, until } from './process.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

describe('joinEmbedded', () => {
  let folder: Folder;
  beforeAll(async () => {
    folder = await dataFolder();
  });
  afterEach(() => folder.quiet());
  afterAll(() => folder.remove());

  it('starts one of each for eight processes at once, and the last to leave stops them', async () => {
    const members = Array.from({ length: 8 }, () => folder.member());
    const joined = await Promise.all(members.map((member) => member.join()));
    expect(new Set(joined.map((one) => JSON.stringify(one))).size).toBe(1);
    const [postmaster, sim] = [await folder.postmaster(), folder.sim()];
    expect(postmaster?.status).toBe('ready');
    expect(sim).not.toBeNull();

    const [stays, ...leave] = members;
    await Promise.all(leave.map((member) => member.leave()));
    expect([(await folder.postmaster())?.pid, folder.sim()]).toEqual([postmaster?.pid, sim]);
    expect(await stays?.ask('query')).not.toHaveProperty('error');
    await stays?.leave();
    expect([await folder.postmaster(), folder.sim()]).toEqual([null, null]);
  });

  it('gives the owner of a durable UTF-8 database, and a simulator', async () => {
    const { databaseUrl, simUrl } = await folder.member().join();
    const rows = await ask(
      databaseUrl,
      `select rolname::text, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, pg_get_userbyid(datdba)::text as owner,
              pg_encoding_to_char(encoding)::text as encoding, datcollate::text as locale
       from pg_roles, pg_database where rolname = current_user and datname = current_database()`,
    );
    const role = {
      rolname: 'millrace',
      rolsuper: false,
      rolbypassrls: false,
      rolcreaterole: true,
      rolcreatedb: false,
    };
    expect(rows).toEqual([{ ...role, owner: 'millrace', encoding: 'UTF8', locale: 'C' }]);
    const settings = [
      'fsync',
      'synchronous_commit',
      'full_page_writes',
      'data_checksums',
      'server_version_num',
    ];
    const shown = await Promise.all(
      settings.map((name) => ask<Record<string, string>>(databaseUrl, `show ${name}`)),
    );
    expect(shown.map((row) => Object.values(row[0] ?? {})[0])).toEqual([
      'on',
      'on',
      'on',
      'on',
      expect.stringMatching(/^18/),
    ]);
    expect((await fetch(`${simUrl}/healthz`)).status).toBe(200);
    const stranger = databaseUrl.replace(/:\w+@/, ':guess@');
    await expect(ask(stranger, 'select 1')).rejects.toThrow(/password authentication failed/);
  });

  it('takes back the orphans of a kill -9 of everybody, and stops them in the end', async () => {
    const killed = [folder.member(), folder.member()];
    const [first] = await Promise.all(killed.map((member) => member.join()));
    await ask(first?.databaseUrl ?? '', 'create table kept as select 42 as answer');
    const [postmaster, sim] = [await folder.postmaster(), folder.sim()];
    await Promise.all(killed.map((member) => member.kill()));

    const heir = folder.member();
    const found = await heir.join();
    expect([(await folder.postmaster())?.pid, folder.sim()]).toEqual([postmaster?.pid, sim]);
    expect(await ask(found.databaseUrl, 'select answer from kept')).toEqual([{ answer: 42 }]);
    await heir.leave();
    expect([await folder.postmaster(), folder.sim()]).toEqual([null, null]);
  });

  it('does not count a killed process, nor one that has left twice', async () => {
    const [killed, twice, last] = [folder.member(), folder.member(), folder.member()];
    await Promise.all([killed, twice, last].map((member) => member.join()));
    await killed.kill();
    await twice.leave();
    await twice.leave();
    expect(await last.ask('query')).not.toHaveProperty('error');
    await last.leave();
    expect(await folder.postmaster()).toBeNull();
  });

  it('serves whoever joins while the last one leaves', async () => {
    const [one, two] = [folder.member(), folder.member()];
    await one.join();
    let restarts = 0;
    for (let round = 0; round < 8; round++) {
      const [leaves, joins] = round % 2 === 0 ? [one, two] : [two, one];
      const before = await folder.postmaster();
      const left = leaves.leave();
      // Not a wait for anything: it moves the newcomer's arrival from before to after the stop.
      await sleep(round * 5);
      const [{ databaseUrl, simUrl }] = await Promise.all([joins.join(), left]);
      expect(await ask(databaseUrl, 'select 1 as one')).toEqual([{ one: 1 }]);
      expect((await fetch(`${simUrl}/healthz`)).status).toBe(200);
      restarts += (await folder.postmaster())?.pid === before?.pid ? 0 : 1;
    }
    expect(restarts).toBeGreaterThan(0);
  });

  it.each(['SIGINT', 'SIGTERM'] as const)(
    'lets a %s of the whole group drain before the services end',
    async (signal) => {
      const member = folder.member({ leads: true });
      await member.join();
      const postmaster = (await folder.postmaster())?.pid ?? 0;
      const sim = folder.sim() ?? 0;
      const group = member.child.pid ?? 0;
      expect([postmaster, sim].map((pid) => stat(pid).session === pid)).toEqual([true, true]);
      expect(stat(group).group).toBe(group);

      const ended = new Promise((resolve) => member.child.once('exit', resolve));
      process.kill(-group, signal);
      // 0: it asked the database for 0.3 s and the simulator after the signal, and then left.
      expect(await ended).toBe(0);
      expect([alive(postmaster), alive(sim)]).toEqual([false, false]);
    },
  );

  it('starts again what was killed, at the address that others still use', async () => {
    const [member, next] = [folder.member(), folder.member()];
    const before = await member.join();
    const [postmaster, sim] = [(await folder.postmaster())?.pid ?? 0, folder.sim() ?? 0];
    process.kill(postmaster, 'SIGKILL');
    process.kill(sim, 'SIGKILL');
    expect(await next.join()).toEqual(before);
    expect(await member.ask('query')).not.toHaveProperty('error');
    expect(folder.sim()).not.toBe(sim);
  });

  it('gives a new database to who has deleted the folder, and leaves nothing running of the old', async () => {
    const [before, after] = [folder.member(), folder.member()];
    const old = await before.join();
    const [postmaster, sim] = [(await folder.postmaster())?.pid ?? 0, folder.sim() ?? 0];
    rmSync(folder.dataDir, { recursive: true });
    const fresh = await after.join();
    expect(fresh.databaseUrl).not.toBe(old.databaseUrl);
    await before.leave();
    expect(await after.ask('query')).not.toHaveProperty('error');
    expect(alive(postmaster)).toBe(false);
    await until('the old simulator has noticed', () => !alive(sim));
  });
});
