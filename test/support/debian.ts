// Programs of Debian's packages for tests: installed as root, or unpacked into a cache folder as a user.
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
import { delimiter, dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { LockFile } from '../../src/embedded/lock.ts';

export interface Wanted {
  /** Names it in the cache, and in errors. */
  name: string;
  packages: readonly string[];
  /** What a tree must hold -> where the packages put it; both from the root, without the first slash. */
  links: Record<string, string>;
  /** Whether what the tree holds runs on this system. */
  works(tree: Tree): Promise<boolean>;
}

export interface Tree {
  /** Holds `usr/bin` and whatever else is asked for. */
  root: string;
  /** For its programs: with libraries that are not the system's. */
  env: NodeJS.ProcessEnv;
}

const execute = promisify(execFile);

/** What was put into the cache before, if it still runs, else what the packages hold. @throws Error in one line */
export async function fromDebian(wanted: Wanted): Promise<Tree> {
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'millrace');
  mkdirSync(cache, { recursive: true });
  const turn = new LockFile(join(cache, `${wanted.name}.mutex`));
  try {
    await turn.exclusive({ timeoutMs: 300_000 });
    return (await kept(cache, wanted)) ?? (await fetched(cache, wanted));
  } catch (error) {
    throw new Error(
      `no ${wanted.name} on PATH, and Debian's package cannot be had (${reason(error)}): install ${wanted.packages.join(', ')}`,
      { cause: error },
    );
  } finally {
    turn.close();
  }
}

/** Where on PATH; null: nowhere. */
export function which(name: string): string | null {
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

async function kept(cache: string, { name, works }: Wanted): Promise<Tree | null> {
  const root = join(cache, name);
  const tree = { root, env: { ...process.env, LD_LIBRARY_PATH: libraryFolders(root).join(delimiter) } };
  return (await works(tree).catch(() => false)) ? tree : null;
}

/** With those a level deeper: libraries that others may stand in for have a folder of their own. */
function libraryFolders(root: string): string[] {
  const tops = [join(root, 'usr', 'lib'), join(root, 'lib')];
  const below = (folder: string): string[] =>
    existsSync(folder)
      ? readdirSync(folder, { withFileTypes: true })
          .filter((entry) => entry.isDirectory())
          .map((entry) => join(folder, entry.name))
      : [];
  const folders = tops.flatMap(below);
  return [...folders, ...folders.flatMap(below)];
}

async function fetched(cache: string, wanted: Wanted): Promise<Tree> {
  const partial = join(cache, `${wanted.name}.partial`);
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial);
  const system = process.getuid?.() === 0;
  if (system) await installAsRoot(wanted.packages);
  else await unpackAsUser(wanted.packages, partial);
  for (const [path, from] of Object.entries(wanted.links)) {
    const at = join(partial, path);
    mkdirSync(dirname(at), { recursive: true });
    if (!existsSync(at))
      symlinkSync(system ? join('/', from) : relative(dirname(at), join(partial, from)), at);
  }
  rmSync(join(cache, wanted.name), { recursive: true, force: true });
  renameSync(partial, join(cache, wanted.name));
  const tree = await kept(cache, wanted);
  if (!tree) throw new Error(`what ${wanted.packages.join(', ')} hold does not run here`);
  return tree;
}

async function installAsRoot(packages: readonly string[]): Promise<void> {
  const install = ['install', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=120', ...packages];
  // The lists may be missing, or so old that the mirror has moved on.
  await apt(install).catch(async () => {
    await apt(['update']);
    await apt(install);
  });
}

/** Nothing of the system is written: apt keeps its lists in a folder of ours, and the packages are only unpacked. */
async function unpackAsUser(packages: readonly string[], root: string): Promise<void> {
  const state = join(root, 'apt');
  for (const folder of ['lists/partial', 'archives/partial', 'packages'])
    mkdirSync(join(state, folder), { recursive: true });
  const own = { 'Dir::State': state, 'Dir::State::lists': join(state, 'lists'), 'Dir::Cache': state };
  const settings = { ...own, 'Dir::State::status': '/var/lib/dpkg/status', 'Debug::NoLocking': 'true' };
  const options = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  await apt([...options, 'update']);
  // What an installation would add to this very system: the packages and those of their libraries that are missing.
  const plan = await apt([...options, 'install', '--simulate', '--no-install-recommends', ...packages]);
  const missing = [...plan.matchAll(/^Inst (\S+) (?:\[\S+\] )?\((\S+)/gm)].map(
    ([, name, version]) => `${name}=${version}`,
  );
  // What is installed already, and only not on this user's PATH, is wanted all the same.
  const installed = packages.filter((name) => !missing.some((one) => one?.startsWith(`${name}=`)));
  await apt([...options, 'download', ...missing, ...installed], join(state, 'packages'));
  for (const name of readdirSync(join(state, 'packages'))) {
    await execute('dpkg', ['-x', join(state, 'packages', name), root]);
  }
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
