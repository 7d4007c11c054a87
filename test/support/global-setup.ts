// The servers of a run: one PostgreSQL, one Redis, one simulator, all its own, gone when it ends.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { TestProject } from 'vitest/node';
import { migrate } from '../../src/db/migrate.ts';
import { startTestPostgres } from './postgres.ts';
import { startRedis } from './redis.ts';
import { diesWithUs } from './undertaker.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    postgresFolder: string;
    /** A migrated, empty database that nobody is connected to: copied for each test file. */
    template: string;
    redisUrl: string;
    simUrl: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const postgres = await startTestPostgres();
  const redis = await startRedis({ databases: 4_000 });
  const sim = await startSim();
  const url = await postgres.createDatabase();
  await migrate(url, () => {});
  project.provide('postgresFolder', postgres.folder);
  project.provide('template', new URL(url).pathname.slice(1));
  project.provide('redisUrl', redis.url);
  project.provide('simUrl', sim.url);
  return async () => {
    await sim.stop();
    await redis.stop();
    await postgres.stop();
  };
}

/** The simulator as a process of its own. */
export async function startSim(): Promise<{ url: string; stop(): Promise<void> }> {
  const main = fileURLToPath(new URL('../../src/providers/sim/main.ts', import.meta.url));
  const child = spawn(process.execPath, [main], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, SIM_PORT: '0' },
  });
  diesWithUs(child);
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  const { sim_url: url } = JSON.parse(line) as { sim_url: string };
  return {
    url,
    async stop() {
      if (child.exitCode !== null) return;
      child.kill('SIGTERM');
      await once(child, 'exit');
    },
  };
}
