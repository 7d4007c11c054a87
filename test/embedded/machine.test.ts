// Machines that are not as one would like them. Whether the tests run as root or not, each of these must start.
import {
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { run } from '../../src/embedded/command.ts';
import { packageFolder, SHARED_FOLDER, usableBinaries } from '../../src/embedded/postgres/binaries.ts';
import type { Folder } from './folder.ts';
import { ask, copyAll, dataFolder } from './folder.ts';

const isRoot = process.getuid?.() === 0;

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

describe('a project in a folder that only its owner may enter', () => {
  // As mkdtemp makes it: mode 700, like root's home.
  const closed = mkdtempSync(join(realpathSync(tmpdir()), 'millrace-closed-'));
  const homes = new Set<string>();
  let folder: Folder;
  beforeEach(async () => {
    mkdirSync(closed, { recursive: true, mode: 0o700 });
    folder = await dataFolder(join(closed, 'project'));
  });
  afterEach(() => folder.quiet());
  afterAll(() => [closed, ...homes].forEach((path) => rmSync(path, { recursive: true, force: true })));

  it('has its database elsewhere if PostgreSQL may not run as its owner, and keeps it when it moves', async () => {
    const { databaseUrl } = await folder.member().join();
    const home = folder.home();
    homes.add(home);
    expect(dirname(home)).toBe(isRoot ? SHARED_FOLDER : join(folder.dataDir, 'embedded'));
    expect(statSync(join(home, 'data')).uid === 0).toBe(false);
    expect([
      statSync(join(home, 'secrets.json')).mode & 0o777,
      statSync(join(home, 'data')).mode & 0o777,
    ]).toEqual([0o600, 0o700]);
    await ask(databaseUrl, 'create table paid as select 7 as credits');
    await folder.quiet();

    const moved = await dataFolder(join(closed, 'moved'));
    await run('mv', [join(closed, 'project'), join(closed, 'moved')]);
    try {
      const after = await moved.member().join();
      expect(await ask(after.databaseUrl, 'select credits from paid')).toEqual([{ credits: 7 }]);
    } finally {
      await moved.quiet();
    }
    // A copy must not share what it was copied from: refused where the database is elsewhere, separate where it is not.
    await copyAll(join(closed, 'moved'), join(closed, 'project'));
    const copy = folder.member();
    const reply = await copy.ask('join');
    await copy.kill();
    if (isRoot) expect(reply.error).toMatch(/project.* is a copy of .*moved.*, whose database lives in/);
    else expect(reply.databaseUrl).toMatch(/^postgres:/);
    if (!isRoot) await folder.quiet();
    rmSync(folder.dataDir, { recursive: true });
  });

  it('gets a new database after its folder was deleted, and the old server ends', async () => {
    await folder.member().join();
    const [old, oldHome] = [await folder.postmaster(), folder.home()];
    rmSync(folder.dataDir, { recursive: true });
    const { databaseUrl } = await folder.member().join();
    [oldHome, folder.home()].forEach((home) => homes.add(home));
    await expect(ask(databaseUrl, 'table paid')).rejects.toThrow(/does not exist/);
    expect((await folder.postmaster())?.pid).not.toBe(old?.pid);
    if (!isRoot) process.kill(old?.pid ?? 0, 'SIGQUIT');
    else expect(() => process.kill(old?.pid ?? 0, 0)).toThrow(/ESRCH/);
  });
});

describe('an installation whose install scripts were blocked', () => {
  it('is used through a copy that has the links', async () => {
    const root = mkdtempSync(join(realpathSync(tmpdir()), 'millrace-blocked-'));
    const cache = process.env.XDG_CACHE_HOME;
    process.env.XDG_CACHE_HOME = join(root, 'cache');
    try {
      cpSync(dirname(packageFolder()), join(root, 'package'), { recursive: true, filter: isNoLink });
      const native = join(root, 'package', 'native');
      const direct = await run(join(native, 'bin', 'postgres'), ['--version']);
      expect(direct.errors).toMatch(/error while loading shared libraries/);

      const copied: string[] = [];
      for (let time = 0; time < 2; time++) {
        const binaries = await usableBinaries(native, null, (line) => copied.push(line));
        expect(binaries.postgres.startsWith(join(root, 'cache', 'millrace'))).toBe(true);
        expect(binaries.major).toBe(Number(/^(\d+)/.exec(version(native))?.[1]));
      }
      expect(copied).toHaveLength(1);
    } finally {
      if (cache === undefined) delete process.env.XDG_CACHE_HOME;
      else process.env.XDG_CACHE_HOME = cache;
      rmSync(root, { recursive: true, force: true });
    }
  });
});

const isNoLink = (path: string) => !lstatSync(path).isSymbolicLink();

function version(native: string): string {
  return JSON.parse(readFileSync(join(native, '..', 'package.json'), 'utf8')).version;
}
