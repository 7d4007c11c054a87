// One API and some workers as processes, which are killed and started again as a supervisor would.
import { freePort } from '../../src/embedded/port.ts';
import { readCredentials } from '../../src/platform.ts';
import { readConfig } from '../../src/config.ts';
import { type Client, openClient } from './client.ts';
import type { Installation } from './installation.ts';
import { type Role, spawnApi, spawnWorker } from './spawn.ts';

export interface Fleet {
  /** Of the API: the same after every restart. */
  url: string;
  /** With the operator's key. */
  admin: Client;
  /** As they are now. */
  readonly api: Role;
  readonly workers: readonly Role[];
  /** SIGKILL, and a new one at once; resolves once that is ready. */
  killApi(): Promise<Kill>;
  /** The worker with the most calls under way. */
  killWorker(): Promise<Kill>;
  /** `servers` kills what the roles stand on at the same moment, and resolves once that is back: then they are started. */
  killAll(servers?: () => Promise<void>): Promise<Kill>;
  /** SIGTERM to the worker with the most calls under way, and a new one at once; answers the old one's exit code. */
  drainWorker(): Promise<number | string>;
  /** What roles logged as errors, those that are dead included. */
  errors(): string[];
  /** Drains all that runs; answers their exit codes. */
  stop(): Promise<(number | string)[]>;
}

/** Wall clock, ms. */
export interface Kill {
  at: number;
  /** From when on all was running again. */
  backAt: number;
}

export interface FleetOptions {
  workers: number;
  concurrency?: number;
  env?: Record<string, string>;
}

export async function startFleet(
  installation: Installation,
  { workers: count, concurrency = 50, env = {} }: FleetOptions,
): Promise<Fleet> {
  const port = String(await freePort());
  const everyRole: Role[] = [];
  const noted = async (starting: Promise<Role>): Promise<Role> => {
    const role = await starting;
    everyRole.push(role);
    return role;
  };
  const newApi = (): Promise<Role> => noted(spawnApi(installation, { ...env, PORT: port }));
  const newWorker = (): Promise<Role> => noted(spawnWorker(installation, { env, concurrency }));
  let api = await newApi();
  let workers = await Promise.all(Array.from({ length: count }, newWorker));
  const busiest = async (): Promise<number> => {
    const rows = await installation.sql<{ pid: number }>(
      `select w.pid from workers w join jobs j on j.worker_id = w.id and j.status = 'running' group by w.pid order by count(*) desc`,
    );
    const found = rows.map(({ pid }) => workers.findIndex((worker) => worker.pid === pid));
    return found.find((index) => index >= 0) ?? 0;
  };
  const replaceWorker = async (end: (worker: Role) => Promise<void>): Promise<void> => {
    const index = await busiest();
    const old = workers[index];
    const fresh = old && (await Promise.all([newWorker(), end(old)]))[0];
    if (fresh) workers = workers.map((worker, i) => (i === index ? fresh : worker));
  };
  const credentials = await readCredentials(readConfig(installation.env));
  if (!credentials) throw new Error('the first start wrote no credentials');
  return {
    url: api.url,
    admin: openClient(api.url, credentials.admin_key),
    get api() {
      return api;
    },
    get workers() {
      return workers;
    },
    killApi: () =>
      killing(async () => {
        await api.kill();
        api = await newApi();
      }),
    killWorker: () => killing(() => replaceWorker((worker) => worker.kill())),
    async drainWorker() {
      let code: number | string = '';
      await replaceWorker(async (worker) => {
        code = await worker.drain();
      });
      return code;
    },
    killAll: (servers) =>
      killing(async () => {
        await Promise.all([...[api, ...workers].map((role) => role.kill()), servers?.()]);
        [api, ...workers] = await Promise.all([newApi(), ...Array.from({ length: count }, newWorker)]);
      }),
    errors: () => everyRole.flatMap(({ log }) => log.filter((line) => /"level":"(error|fatal)"/.test(line))),
    stop: () => Promise.all([api, ...workers].map((role) => role.drain())),
  };
}

async function killing(kill: () => Promise<void>): Promise<Kill> {
  const at = Date.now();
  await kill();
  return { at, backAt: Date.now() };
}
