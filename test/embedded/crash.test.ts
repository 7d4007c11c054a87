// What a kill -9, a power cut or a strange machine leaves behind must not trouble the next start.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { joinEmbedded, stopEmbedded } from '../../src/embedded/join.ts';
import { diesWithUs } from '../support/undertaker.ts';
import type { Folder } from './folder.ts';
import { ask, copyAll, dataFolder, processesNaming } from './folder.ts';
import { alive, SIM, until } from './process.ts';

const silent = () => {};
const BROKEN = SIM.replace('standin', 'broken');

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

describe('a first start', () => {
  it('is taken over wherever the one before was killed', async () => {
    const folder = await dataFolder();
    const home = join(folder.dataDir, 'embedded', 'postgres');
    const partials = () => {
      const names = existsSync(dirname(home)) ? readdirSync(dirname(home)) : [];
      return names.filter((name) => name.startsWith('postgres.partial-'));
    };
    const inPartial = (name: string) =>
      partials().some((partial) => existsSync(join(dirname(home), partial, name)));
    const steps: [string, () => boolean | Promise<boolean>][] = [
      ['initdb has begun', () => inPartial('data/PG_VERSION')],
      ['initdb is at its catalogs', () => inPartial('data/base/1/PG_VERSION')],
      // Only a moment from here to its place: what matters is that the kill comes about then.
      ['initdb is done', () => inPartial('secrets.json') || existsSync(home)],
      ['the cluster is in place', () => existsSync(home)],
      ['the settings are written', () => existsSync(join(home, 'millrace.conf'))],
      ['the postmaster has begun', () => existsSync(join(home, 'data', 'postmaster.pid'))],
      ['the server is ready', async () => (await folder.postmaster())?.status === 'ready'],
    ];
    try {
      for (const [step, reached] of steps) {
        const member = folder.member();
        const joined = member.ask('join');
        await until(step, reached);
        await member.kill();
        // It died of the kill, or had just joined; a refusal would be a fault.
        expect(['the member died', undefined]).toContain((await joined).error);
      }
      const heir = folder.member();
      await heir.join();
      expect(await heir.ask('query')).not.toHaveProperty('error');
      expect(partials()).toEqual([]);
      // A session is named like the postmaster until it has a name of its own.
      await until('one server is left', () => processesNaming(`-D\0${home}/data`).length === 1);
      await until(
        'spare simulators have ended',
        () => processesNaming(SIM).filter(isOf(folder)).length === 1,
      );
    } finally {
      await folder.remove();
    }
  });
});

/** Simulators hold a lock file of their folder open. */
const isOf = (folder: Folder) => (pid: number) =>
  readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`SIM_HOLD=${folder.dataDir}/`);

describe('a later start', () => {
  let folder: Folder;
  beforeAll(async () => {
    folder = await dataFolder();
    await folder.member().join();
    await folder.quiet();
  });
  afterEach(() => folder.quiet());
  afterAll(() => folder.remove());

  it('keeps what was committed before a power cut, though the old pid is another process now', async () => {
    const before = folder.member();
    const { databaseUrl } = await before.join();
    await ask(databaseUrl, 'create table paid as select 7 as credits');
    const pidFile = join(folder.home(), 'data', 'postmaster.pid');
    const left = readFileSync(pidFile, 'utf8');
    process.kill((await folder.postmaster())?.pid ?? 0, 'SIGKILL');
    await before.kill();
    await until('the postmaster has ended', async () => (await folder.postmaster()) === null);

    const { uid, gid } = statSync(join(folder.home(), 'data'));
    const stranger = spawn('sleep', ['60'], process.getuid?.() === 0 ? { uid, gid, cwd: '/' } : {});
    diesWithUs(stranger);
    await once(stranger, 'spawn');
    writeFileSync(pidFile, left.replace(/^\d+/, String(stranger.pid)));
    try {
      const after = await folder.member().join();
      expect(await ask(after.databaseUrl, 'select credits from paid')).toEqual([{ credits: 7 }]);
      expect(stranger.exitCode).toBeNull();
    } finally {
      stranger.kill('SIGKILL');
    }
  });

  it('moves to another port when its own was taken meanwhile', async () => {
    const member = folder.member();
    const before = await member.join();
    await member.leave();
    const ports = [before.databaseUrl, before.simUrl].map((url) => Number(new URL(url).port));
    const squatters = ports.map((port) => createServer().listen(port, '127.0.0.1'));
    await Promise.all(squatters.map((squatter) => once(squatter, 'listening')));
    try {
      const after = await member.join();
      expect(await member.ask('query')).not.toHaveProperty('error');
      expect(
        [after.databaseUrl, after.simUrl].map((url) => ports.includes(Number(new URL(url).port))),
      ).toEqual([false, false]);
    } finally {
      await Promise.all(squatters.map((squatter) => squatter[Symbol.asyncDispose]()));
    }
  });

  it('of a copied folder has a server of its own, at a path too long for a socket', async () => {
    const deep = join('deep '.repeat(20), 'er'.repeat(60));
    const copy = await dataFolder(join(dirname(folder.dataDir), deep));
    try {
      mkdirSync(dirname(copy.dataDir), { recursive: true });
      await copyAll(folder.dataDir, copy.dataDir);
      const [original, other] = await Promise.all([folder.member().join(), copy.member().join()]);
      await ask(original.databaseUrl, 'create table only_here ()');
      await expect(ask(other.databaseUrl, 'table only_here')).rejects.toThrow(/does not exist/);
      expect(original.simUrl).not.toBe(other.simUrl);
    } finally {
      await copy.remove();
    }
  });

  it('is refused, and says so, when another major version made the database', async () => {
    const version = join(folder.home(), 'data', 'PG_VERSION');
    writeFileSync(version, '17\n');
    const options = { dataDir: folder.dataDir, postgres: true, sim: false, log: silent };
    await expect(joinEmbedded(options)).rejects.toThrow(
      /holds a database of PostgreSQL 17, but the installed one is 18/,
    );
    writeFileSync(version, '18\n');
    await (await joinEmbedded(options)).leave();
  });

  it('is not disturbed by a simulator that was started for a dead process and comes late', async () => {
    const files = join(folder.dataDir, 'embedded');
    const env = {
      ...process.env,
      SIM_HOLD: join(files, 'sim.alive'),
      SIM_OUT: join(files, 'sim.out'),
      SIM_START: 'old',
    };
    const hold = new URL('../../src/embedded/sim-hold.ts', import.meta.url).href;
    // Ended by us if it does not end by itself: then the code is null.
    const late = async () => {
      const child = spawn(process.execPath, ['--import', hold, SIM], {
        env,
        stdio: ['ignore', 'pipe', 'inherit'],
        timeout: 10_000,
      });
      const [code] = await once(child, 'exit');
      return { code, said: child.stdout.read() };
    };
    expect(await late()).toEqual({ code: 0, said: null });
    const { simUrl } = await folder.member().join();
    expect(await late()).toEqual({ code: 0, said: null });
    expect((await fetch(`${simUrl}/healthz`)).status).toBe(200);
  });

  it('does not rely on a simulator that somebody had begun to stop', async () => {
    const member = folder.member();
    await member.join();
    const dying = folder.sim() ?? 0;
    await member.kill();
    // As the leaver does; he was killed before the simulator took notice of his signal.
    appendFileSync(join(folder.dataDir, 'embedded', 'sim.out'), '{"stopping":true}\n');
    const { simUrl } = await folder.member().join();
    expect(alive(dying)).toBe(false);
    expect((await fetch(`${simUrl}/healthz`)).status).toBe(200);
  });

  it('tells in one line what is wrong, and takes back what it had started', async () => {
    const options = { postgres: true, sim: true, log: silent };
    const file = join(dirname(folder.dataDir), 'file');
    writeFileSync(file, '');
    const misplaced = joinEmbedded({ ...options, dataDir: file, simMain: SIM });
    await expect(misplaced).rejects.toThrow(/^cannot make the data folder .*(EEXIST|ENOTDIR)/);
    const broken = joinEmbedded({ ...options, dataDir: folder.dataDir, simMain: BROKEN });
    await expect(broken).rejects.toThrow(/^the simulator ended at its start: .*the mill has no wheel/);
    expect(await folder.postmaster()).toBeNull();
  });

  it('can be undone by an explicit stop, whoever is still a member', async () => {
    const member = folder.member();
    await member.join();
    await stopEmbedded(folder.dataDir);
    expect([await folder.postmaster(), folder.sim()]).toEqual([null, null]);
    await member.leave();
  });
});
