// A worker's identity, which lives as long as its lease. When the lease lapses its jobs may be somebody else's: the calls
// are ended, and the worker goes on under a new name.
import type { Context } from '../context.ts';
import { newId } from '../domain/ids.ts';
import { endLease, registerWorker, renewLease } from '../store/workers.ts';

export interface Lease {
  workerId(): string;
  /** Whether that name is still ours by our own clock, so that its calls may be made and go on. */
  holds(workerId: string): boolean;
  /** Resolves once there is a lease to claim under: at once, but for a worker that lost its own. */
  held(): Promise<void>;
  /** Lets go of it, so that what is left is taken back at once. */
  end(): Promise<void>;
}

export async function holdLease(
  ctx: Context,
  options: { queues: readonly string[]; engines(): string[]; onRenewed(): void; onLost(): void },
): Promise<Lease> {
  const { leaseMs, hostName } = ctx.config;
  let workerId = '';
  let goodUntil = 0;
  let ended = false;
  let lost = false;
  let lapse: NodeJS.Timeout | undefined;
  let waiting: (() => void)[] = [];
  let told: string[] = [];

  /** From when it was asked for: the database cannot have begun to count before. */
  const hold = (id: string, asked: number): void => {
    workerId = id;
    goodUntil = asked + leaseMs;
    lost = false;
    clearTimeout(lapse);
    lapse = setTimeout(lose, Math.max(0, goodUntil - performance.now()));
    release();
  };

  const release = (): void => {
    for (const resolve of waiting) resolve();
    waiting = [];
  };

  const holds = (id: string): boolean => id === workerId && !lost && performance.now() < goodUntil;

  const register = async (): Promise<void> => {
    const id = newId('wkr');
    const asked = performance.now();
    const { queues } = options;
    const engines = options.engines();
    await registerWorker(ctx.flow, { id, queues, engines, host: hostName, pid: process.pid, leaseMs });
    hold(id, asked);
    // While there was no lease, what it offered may have been struck off.
    tell(engines, engines.length > 0);
  };

  /** What engines a worker has decides what is sold: whoever keeps the catalogue in memory reads it again. */
  const tell = (engines: string[], anyway = false): void => {
    if (anyway || engines.join() !== told.join()) ctx.bus.publish([{ type: 'catalogue' }]);
    told = engines;
  };

  const lose = (): void => {
    if (lost || ended) return;
    lost = true;
    ctx.counts.leasesLost += 1;
    ctx.log.warn({ worker: workerId }, 'the lease lapsed; running calls are ended');
    options.onLost();
  };

  const renew = async (): Promise<void> => {
    const asked = performance.now();
    const engines = options.engines();
    if (!lost && (await renewLease(ctx.flow, { id: workerId, leaseMs, engines }))) {
      // It may have lapsed by our clock while the answer was on its way: what ran has been ended.
      if (lost) return register();
      hold(workerId, asked);
      tell(engines);
      options.onRenewed();
      return;
    }
    lose();
    await register();
  };

  // Two clocks: the database's decides, ours (the timer of `hold`) notices that we can no longer ask it.
  const outage = watchOutage(ctx.log);
  let renewing = false;
  const beat = setInterval(() => {
    if (ended || renewing) return;
    renewing = true;
    const asked = performance.now();
    renew()
      .then(
        () => outage.over(),
        (error: Error) => outage.goesOn(error, asked),
      )
      .finally(() => {
        renewing = false;
      });
  }, leaseMs / 3);

  await register();
  return {
    workerId: () => workerId,
    holds,
    held: () =>
      holds(workerId) || ended ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve)),
    async end() {
      ended = true;
      clearInterval(beat);
      clearTimeout(lapse);
      release();
      await endLease(ctx.flow, workerId);
      tell([]);
    },
  };
}

/** An outage is told twice, when it begins and when it is over, however often the lease is asked for in between. */
function watchOutage(log: Context['log']): { goesOn(error: Error, asked: number): void; over(): void } {
  let since: number | null = null;
  return {
    goesOn(error, asked) {
      if (since !== null) return;
      since = asked;
      log.warn({ err: error }, 'the lease could not be renewed; it is tried again until it can be');
    },
    over() {
      if (since === null) return;
      log.info({ after_ms: Math.round(performance.now() - since) }, 'the lease can be renewed again');
      since = null;
    },
  };
}
