// A worker's identity, which lives as long as its lease. When the lease lapses its jobs may be somebody else's: the calls
// are ended, and the worker goes on under a new name.
import type { Context } from '../context.ts';
import { newId } from '../domain/ids.ts';
import type { Kind } from '../domain/job.ts';
import { endLease, registerWorker, renewLease } from '../store/workers.ts';

export interface Lease {
  workerId(): string;
  /** Lets go of it, so that what is left is taken back at once. */
  end(): Promise<void>;
}

export async function holdLease(
  ctx: Context,
  options: { queues: readonly Kind[]; onRenewed(): void; onLost(): void },
): Promise<Lease> {
  const { leaseMs, hostName } = ctx.config;
  let workerId = '';
  let goodUntil = 0;
  let ended = false;
  let lost = false;

  const register = async (): Promise<void> => {
    const id = newId('wkr');
    const asked = performance.now();
    await registerWorker(ctx.flow, { id, queues: options.queues, host: hostName, pid: process.pid, leaseMs });
    workerId = id;
    goodUntil = asked + leaseMs;
    lost = false;
  };

  const lose = (): void => {
    if (lost) return;
    lost = true;
    ctx.log.warn({ worker: workerId }, 'the lease lapsed; running calls are ended');
    options.onLost();
  };

  const renew = async (): Promise<void> => {
    const asked = performance.now();
    if (!lost && (await renewLease(ctx.flow, { id: workerId, leaseMs }))) {
      goodUntil = asked + leaseMs;
      options.onRenewed();
      return;
    }
    lose();
    await register();
  };

  // Two clocks: the database's decides, ours notices that we can no longer ask it.
  let renewing = false;
  const beat = setInterval(() => {
    if (ended) return;
    if (performance.now() > goodUntil) lose();
    if (renewing) return;
    renewing = true;
    renew()
      .catch((error: Error) => ctx.log.warn({ err: error }, 'the lease could not be renewed'))
      .finally(() => {
        renewing = false;
      });
  }, leaseMs / 3);

  await register();
  return {
    workerId: () => workerId,
    async end() {
      ended = true;
      clearInterval(beat);
      await endLease(ctx.flow, workerId);
    },
  };
}
