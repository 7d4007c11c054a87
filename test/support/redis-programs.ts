// Where redis-server and redis-cli come from: PATH, else Debian's packages.
//
// The package wanted is `redis-tools`, not `redis-server`: the program is in it (one binary, which does by its name),
// and it brings no system service that would start on the machine's port 6379.
import { execFile } from 'node:child_process';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { LockFile } from '../../src/embedded/lock.ts';

export interface RedisPrograms {
  server: string;
  cli: string;
  /** Their environment: libraries that are not the system's. */
  env: NodeJS.ProcessEnv;
}

const PACKAGE = 'redis-tools';
const execute = promisify(execFile);

export async function findRedis(): Promise<RedisPrograms> {
  const found = onPath('redis-server', 'redis-cli') ?? onPath('valkey-server', 'valkey-cli');
  if (found) return found;
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'millrace');
  mkdirSync(cache, { recursive: true });
  const turn = new LockFile(join(cache, 'redis.mutex'));
  try {
    await turn.exclusive({ timeoutMs: 300_000 });
    return (await unpacked(cache)) ?? (await installed(cache));
  } catch (error) {
    throw new Error(
      `no redis-server on PATH, and Debian's package cannot be had (${reason(error)}): install redis`,
      {
        cause: error,
      },
    );
  } finally {
    turn.close();
  }
}

function onPath(server: string, cli: string): RedisPrograms | null {
  const [atServer, atCli] = [server, cli].map((name) => which(name));
  return atServer && atCli ? { server: atServer, cli: atCli, env: process.env } : null;
}

function which(name: string): string | null {
  const places = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, name));
  return places.find(isExecutable) ?? null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** What was put into the cache before, if it still runs on this system. */
async function unpacked(cache: string): Promise<RedisPrograms | null> {
  const root = join(cache, 'redis');
  const folders = [join(root, 'usr', 'lib'), join(root, 'lib')].filter((folder) => existsSync(folder));
  const libraries = folders.flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)));
  const env = { ...process.env, LD_LIBRARY_PATH: libraries.join(delimiter) };
  const programs = { server: join(root, 'usr/bin/redis-server'), cli: join(root, 'usr/bin/redis-cli'), env };
  try {
    const { stdout } = await execute(programs.server, ['--version'], { env });
    await execute(programs.cli, ['--version'], { env });
    return stdout.startsWith('Redis server') ? programs : null;
  } catch {
    return null;
  }
}

async function installed(cache: string): Promise<RedisPrograms> {
  const partial = join(cache, 'redis.partial');
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(join(partial, 'usr', 'bin'), { recursive: true });
  if (process.getuid?.() === 0) await installAsRoot(partial);
  else await unpackAsUser(partial);
  rmSync(join(cache, 'redis'), { recursive: true, force: true });
  renameSync(partial, join(cache, 'redis'));
  const programs = await unpacked(cache);
  if (!programs) throw new Error(`what ${PACKAGE} holds does not run here`);
  return programs;
}

async function installAsRoot(root: string): Promise<void> {
  const install = ['install', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=120', PACKAGE];
  // The lists may be missing, or so old that the mirror has moved on.
  await apt(install).catch(async () => {
    await apt(['update']);
    await apt(install);
  });
  symlinkSync('/usr/bin/redis-check-rdb', join(root, 'usr/bin/redis-server'));
  symlinkSync('/usr/bin/redis-cli', join(root, 'usr/bin/redis-cli'));
}

/** Nothing of the system is written: apt keeps its lists in a folder of ours, and the packages are only unpacked. */
async function unpackAsUser(root: string): Promise<void> {
  const state = join(root, 'apt');
  for (const folder of ['lists/partial', 'archives/partial', 'packages'])
    mkdirSync(join(state, folder), { recursive: true });
  const own = { 'Dir::State': state, 'Dir::State::lists': join(state, 'lists'), 'Dir::Cache': state };
  const settings = { ...own, 'Dir::State::status': '/var/lib/dpkg/status', 'Debug::NoLocking': 'true' };
  const options = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  await apt([...options, 'update']);
  // What an installation would add to this very system: the package and those of its libraries that are missing.
  const plan = await apt([...options, 'install', '--simulate', '--no-install-recommends', PACKAGE]);
  const missing = [...plan.matchAll(/^Inst (\S+) (?:\[\S+\] )?\((\S+)/gm)].map(
    ([, name, version]) => `${name}=${version}`,
  );
  await apt([...options, 'download', ...missing], join(state, 'packages'));
  for (const name of readdirSync(join(state, 'packages'))) {
    await execute('dpkg', ['-x', join(state, 'packages', name), root]);
  }
  symlinkSync('redis-check-rdb', join(root, 'usr/bin/redis-server'));
  rmSync(state, { recursive: true });
}

async function apt(words: string[], cwd = '/'): Promise<string> {
  const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  const { stdout } = await execute('apt-get', ['-q', ...words], { env, cwd, maxBuffer: 64 * 1024 * 1024 });
  return stdout;
}

/** The last words of the program that failed. */
function reason(error: unknown): string {
  const words = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
  return words.split('\n').at(-1) || (error instanceof Error ? error.message : String(error));
}
