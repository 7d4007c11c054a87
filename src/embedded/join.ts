// What a newcomer's machine lacks: PostgreSQL and the simulator, shared by all processes of one data folder.
import { mkdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EmbeddedError } from './error.ts';
import { postgresService } from './postgres/service.ts';
import type { Attached } from './service.ts';
import { attach, stopService } from './service.ts';
import { simService } from './sim.ts';

export interface Embedded {
  /** `postgres://…` of the database's owner; null if PostgreSQL was not asked for. */
  databaseUrl: string | null;
  /** `http://…` of the simulator, without a trailing slash; null if it was not asked for. */
  simUrl: string | null;
  /** Ends the membership; the last member's call stops the services and waits for their end. Safe to repeat. */
  leave(): Promise<void>;
}

export interface JoinOptions {
  /** Made if it is missing. `.millrace` by default of every command. */
  dataDir: string;
  postgres: boolean;
  sim: boolean;
  /** Gets a line at each step that a person may have to wait for. */
  log: (line: string) => void;
  /** The simulator's entry file, for tests of another one. */
  simMain?: string;
}

const SIM_MAIN = fileURLToPath(new URL('../providers/sim/main.ts', import.meta.url));
const silent = () => {};

/**
 * Attaches this process to the services of a data folder: finds them running (an orphan's too) or starts them. They
 * outlive this process unless it calls `leave()` as the last one. Throws EmbeddedError, one line that says what to do.
 */
export async function joinEmbedded(options: JoinOptions): Promise<Embedded> {
  const folder = serviceFolder(options.dataDir);
  const asked = [
    options.postgres ? attach(folder, postgresService(folder, options.log), options.log) : null,
    options.sim
      ? attach(folder, simService(folder, options.simMain ?? SIM_MAIN, options.log), options.log)
      : null,
  ] as const;
  const joined = await Promise.allSettled(asked);
  const leave = async (): Promise<void> => {
    const left = await Promise.allSettled(
      joined.map((one) => (one.status === 'fulfilled' ? one.value?.leave() : null)),
    );
    const failed = left.find((one) => one.status === 'rejected');
    if (failed) throw failed.reason;
  };
  const failed = joined.find((one) => one.status === 'rejected');
  if (failed) {
    await leave().catch(() => {});
    throw failed.reason;
  }
  const [postgres, sim] = joined.map((one) => (one as PromiseFulfilledResult<Attached | null>).value);
  return { databaseUrl: postgres?.url ?? null, simUrl: sim?.url ?? null, leave };
}

/** Stops the services of a data folder at once, whoever is using them. */
export async function stopEmbedded(dataDir: string): Promise<void> {
  const folder = serviceFolder(dataDir);
  await stopService(folder, postgresService(folder, silent));
  await stopService(folder, simService(folder, SIM_MAIN, silent));
}

/** The real path: two names of one folder are one set of services, and PostgreSQL is told apart by it. */
function serviceFolder(dataDir: string): string {
  try {
    mkdirSync(join(dataDir, 'embedded'), { recursive: true });
    return realpathSync(join(dataDir, 'embedded'));
  } catch (error) {
    throw new EmbeddedError(`cannot make the data folder ${dataDir}: ${String(error)}`);
  }
}
