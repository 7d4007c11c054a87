// One service that the processes of a data folder share: who comes first starts it, who leaves last stops it.
import { join } from 'node:path';
import { EmbeddedError } from './error.ts';
import { LockFile } from './lock.ts';

// Long enough for a first start on a slow disk, or for a recovery, by the process that is before us.
const TURN_MS = 180_000;

export interface Service {
  name: string;
  /** Finds the service running or starts it, and answers its URL. Called by one process of the folder at a time. */
  ensure(): Promise<string>;
  /** Stops the service if it runs. Called by one process of the folder at a time. */
  stop(): Promise<void>;
  /** The folder was deleted: stops what `ensure` found there, and leaves alone what may be there now. */
  abandon(): Promise<void>;
}

export interface Attached {
  url: string;
  leave(): Promise<void>;
}

/**
 * Joins `service`, whose two lock files live in `folder`:
 * - `<name>.mutex` is held by whoever starts, attaches to or stops the service;
 * - `<name>.members` is shared by every process that uses it. Who can take it whole is alone.
 *
 * Both stay open until we leave: should the folder be deleted under us, those who joined before still agree
 * on the same (nameless) files.
 */
export async function attach(
  folder: string,
  service: Service,
  log: (line: string) => void,
): Promise<Attached> {
  const mutex = new LockFile(join(folder, `${service.name}.mutex`));
  const members = new LockFile(join(folder, `${service.name}.members`));
  let left: Promise<void> | null = null;

  const leave = async (): Promise<void> => {
    try {
      await mutex.exclusive({ timeoutMs: TURN_MS });
      await leaveHoldingMutex(members, service);
    } finally {
      members.close();
      mutex.close();
    }
  };
  try {
    const onWait = () => log(`waiting for another process that starts or stops ${service.name}`);
    await mutex.exclusive({ timeoutMs: TURN_MS, onWait });
    const url = await joinHoldingMutex(members, service);
    mutex.unlock();
    return { url, leave: () => (left ??= leave()) };
  } catch (error) {
    members.close();
    mutex.close();
    if (error instanceof EmbeddedError) throw error;
    const words = error instanceof Error ? error.message : String(error);
    throw new EmbeddedError(`${service.name} cannot be started in ${folder}: ${words}`, { cause: error });
  }
}

/** Membership comes first, so that a start that fails is cleaned up like any other departure. */
async function joinHoldingMutex(members: LockFile, service: Service): Promise<string> {
  // Nobody takes it whole without the mutex, which is ours.
  if (!members.tryShared()) throw new EmbeddedError(`${members.path} is held by none of our processes`);
  try {
    return await service.ensure();
  } catch (error) {
    await leaveHoldingMutex(members, service).catch(() => {});
    throw error;
  }
}

async function leaveHoldingMutex(members: LockFile, service: Service): Promise<void> {
  members.unlock();
  if (members.tryExclusive()) await (members.isInPlace() ? service.stop() : service.abandon());
}

/** Stops the service of `folder`, whoever uses it. */
export async function stopService(folder: string, service: Service): Promise<void> {
  const mutex = new LockFile(join(folder, `${service.name}.mutex`));
  try {
    await mutex.exclusive({ timeoutMs: TURN_MS });
    await service.stop();
  } finally {
    mutex.close();
  }
}
