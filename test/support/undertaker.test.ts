// A run of tests that is killed leaves nothing behind.
import { existsSync, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { alive } from '../embedded/process.ts';
import { ROOT, run } from './command.ts';
import { eventually } from './eventually.ts';
import { findRedis } from './redis-programs.ts';

let root: string;
beforeAll(async () => {
  // The first time on a machine it comes from Debian's mirror.
  await findRedis();
  root = await mkdtemp(join(realpathSync(tmpdir()), 'millrace-killed-'));
  // mkdtemp closes the folder to all others, PostgreSQL's user among them.
  await chmod(root, 0o755);
}, 300_000);
afterAll(async () => {
  for (const pid of processesOf(root).keys()) process.kill(pid, 'SIGKILL');
  await rm(root, { recursive: true, force: true });
});

/** The command lines, by pid, of all processes that have to do with the folder: by name, by environment, by where they are. */
function processesOf(folder: string): Map<number, string> {
  const found = new Map<number, string>();
  for (const pid of readdirSync('/proc').map(Number).filter(Boolean)) {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      const [cwd, environment] = [
        readlinkSync(`/proc/${pid}/cwd`),
        readFileSync(`/proc/${pid}/environ`, 'utf8'),
      ];
      if ([line, cwd, environment].some((text) => text.includes(folder)) && alive(pid)) found.set(pid, line);
    } catch {
      // It has ended, or is somebody else's.
    }
  }
  return found;
}

/** All files below the folder but those locks that users of one machine share. */
const filesIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory() && entry.name !== 'mutex')
    .map(({ parentPath, name }) => join(parentPath, name));

it.each(['the runner alone', 'its whole group'])(
  'kill -9 of %s ends all it had started',
  async (whom) => {
    const vitest = [join(ROOT, 'node_modules/vitest/vitest.mjs'), 'run', '--config'];
    const runner = run(process.execPath, [...vitest, 'test/support/killed-run/vitest.config.ts'], {
      env: { TMPDIR: root },
      leads: true,
    });
    let over = false;
    void runner.ended.then(() => {
      over = true;
    });
    const ready = join(root, 'ready');
    await eventually(() => existsSync(ready) || over, { what: 'everything runs', withinMs: 90_000 });
    expect(over, [...runner.out, ...runner.err].join('\n')).toBe(false);
    const started = processesOf(root);
    const count = (words: string) => [...started.values()].filter((line) => line.includes(words)).length;
    for (const words of ['src/main.ts', 'api/main.ts', 'workers/main.ts', 'member.ts', 'redis-server'])
      expect(count(words), words).toBe(1);
    // The run's own, and those in the data folder.
    for (const words of ['postgres -D', 'sim/main.ts']) expect(count(words), words).toBe(2);

    process.kill(whom === 'the runner alone' ? runner.pid : -runner.pid, 'SIGKILL');
    await rm(ready);
    await eventually(() => processesOf(root).size === 0, { what: 'all have ended', withinMs: 20_000 }).catch(
      () => expect([...processesOf(root).values()]).toEqual([]),
    );
    expect([...started.keys()].filter(alive)).toEqual([]);
    expect(filesIn(root)).toEqual([]);
  },
  150_000,
);
