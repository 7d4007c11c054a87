// Roles as they run on several machines: each process has a data folder of its own, and what they share they are told by the
// environment. Those that are killed come back on an empty folder, as on a new machine.
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../src/embedded/port.ts';
import { readConfig } from '../../src/config.ts';
import { readCredentials } from '../../src/platform.ts';
import { type Client, openClient } from './client.ts';
import { runNode } from './command.ts';
import type { Installation } from './installation.ts';
import { type Role, spawnApi, spawnWorker } from './spawn.ts';
import { goesWithUs } from './undertaker.ts';

export interface Machine {
  /** Of an API: the same after every kill. */
  url: string;
  role: Role;
  /** SIGKILL, and a new one on another folder. */
  replace(): Promise<void>;
}

export interface Machines {
  apis: readonly Machine[];
  workers: readonly Machine[];
  /** With the operator's key, by an API. */
  admin(api: number): Client;
  /** What the roles run in, but for a data folder. */
  env: Record<string, string>;
  /** Files in any of the data folders, by their names. */
  files(): Promise<string[]>;
  /** What they logged as errors, those that are dead included. */
  errors(): string[];
  /** Drains them, answers their exit codes, and removes their folders. */
  stop(): Promise<(number | string)[]>;
}

/** The schema is made by a command of its own, after which no role may. @param env of the servers that all share */
export async function startMachines(
  installation: Installation,
  { apis, workers, env: shared }: { apis: number; workers: number; env: Record<string, string> },
): Promise<Machines> {
  const secret = () => randomBytes(32).toString('base64');
  const env = {
    ...installation.env,
    ...shared,
    MILLRACE_KEY_PEPPER: secret(),
    MILLRACE_SECRET_KEY: secret(),
    MIGRATE: 'off',
    LOG_LEVEL: 'info',
  };
  const migrated = runNode(['src/migrate.ts'], { env });
  if ((await migrated.ended) !== 0) throw new Error(migrated.err.join('\n'));
  const credentials = await readCredentials(readConfig(env));
  const folders: string[] = [];
  const spares: (() => void)[] = [];
  const logs: string[][] = [];
  const start = async (spawn: (env: Record<string, string>) => Promise<Role>): Promise<Role> => {
    const folder = await mkdtemp(join(tmpdir(), 'millrace-test-'));
    folders.push(folder);
    spares.push(goesWithUs(folder));
    const role = await spawn({ ...env, MILLRACE_DATA_DIR: folder });
    logs.push(role.log);
    return role;
  };
  const machine = async (spawn: (env: Record<string, string>) => Promise<Role>): Promise<Machine> => {
    const running = {
      role: await start(spawn),
      url: '',
      async replace() {
        await running.role.kill();
        running.role = await start(spawn);
      },
    };
    running.url = running.role.url;
    return running;
  };
  const ports = await Promise.all(Array.from({ length: apis }, () => freePort()));
  const [all, workersOf] = await Promise.all([
    Promise.all(
      ports.map((port) => machine((env) => spawnApi(installation, { ...env, PORT: String(port) }))),
    ),
    Promise.all(
      Array.from({ length: workers }, () =>
        machine((env) => spawnWorker(installation, { env, concurrency: 10 })),
      ),
    ),
  ]);
  return {
    apis: all,
    workers: workersOf,
    env,
    admin: (api) => openClient(all[api]?.url ?? '', credentials?.admin_key ?? ''),
    async files() {
      const lists = await Promise.all(folders.map((folder) => readdir(folder, { recursive: true })));
      return lists.flat();
    },
    errors: () => logs.flat().filter((line) => /"level":"(error|fatal)"/.test(line)),
    async stop() {
      const codes = await Promise.all([...all, ...workersOf].map(({ role }) => role.drain()));
      await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
      for (const spare of spares) spare();
      return codes;
    },
  };
}
