// The generating worker: takes messages, claims what they name, runs it, settles it. And drains when asked to go.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Context } from '../context.ts';
import { crashPoint } from '../crash.ts';
import { mayPass } from '../db/transaction.ts';
import type { Kind } from '../domain/job.ts';
import { openClaims } from '../flow/claim.ts';
import { openDeltaLog } from '../flow/record-deltas.ts';
import { Pauses } from '../flow/pauses.ts';
import { run, unwritten } from '../flow/run.ts';
import type { Announcer } from '../flow/announce.ts';
import type { Settle, Settlement } from '../flow/settle.ts';
import type { Provider } from '../providers/provider.ts';
import type { Consumer, Message } from '../queue/queue.ts';
import { heldBy } from '../store/claims.ts';
import { Brakes } from './brakes.ts';
import { holdLease } from './lease.ts';

export interface GenerateOptions {
  queues: readonly Kind[];
  /** What the worker is known to serve, if that is more. */
  serves?: readonly string[];
  /** Calls at once, of each queue. */
  concurrency: number;
  announcer: Announcer;
  settle: Settle;
  provider(name: string): Provider;
  /** What this machine's engines can serve. Absent: nothing. */
  engines?(): string[];
}

export interface Generator {
  /** Calls under way. */
  running(): number;
  /** Takes nothing more, lets what runs end for so long, hands back the rest, and lets go. */
  drain(forMs: number): Promise<void>;
}

/** What a drain allows for the aborted calls to be handed back. */
const HANDBACK_MS = 3_000;

export async function startGenerating(ctx: Context, options: GenerateOptions): Promise<Generator> {
  const { announcer, settle, queues, serves = queues, concurrency } = options;
  const brakes = new Brakes();
  const pauses = new Pauses();
  const lease = await holdLease(ctx, {
    queues: serves,
    engines: options.engines ?? (() => []),
    onRenewed: () => void compare(),
    onLost: () => brakes.pullAll('leave'),
  });
  /**
   * Compares what the database thinks we do with what we do. A stop whose wake-up was lost is carried out; a job that
   * nobody here runs (the answer to its claim was lost, or its settlement broke) is handed back.
   */
  const compare = async (): Promise<void> => {
    try {
      for (const held of await heldBy(ctx.flow, lease.workerId())) {
        if (held.stopAsked) brakes.pull(held.jobId, 'cancel');
        // What is left behind by us who go is for the sweep of others.
        if (gone || brakes.has(held.jobId) || held.runningMs < ctx.config.leaseMs) continue;
        ctx.log.warn({ job: held.jobId }, 'a job in our name was run by nobody; it is handed back');
        await settle({
          ...held,
          outcome: { type: 'interrupted', used: null },
          evidence: null,
          artifacts: [],
        });
      }
    } catch (error) {
      ctx.log.warn({ err: error }, 'own jobs could not be compared');
    }
  };
  const unsubscribe = ctx.bus.subscribe((wake) => {
    if (wake.type === 'stop') brakes.pull(wake.jobId, 'cancel');
    if (wake.type === 'remote') pauses.end(wake.jobId);
    if (wake.type === 'missed') void compare();
  });
  const claim = openClaims(ctx, announcer, lease.workerId);
  const tools = { provider: options.provider, appendDeltas: openDeltaLog(ctx, announcer), pauses };
  let draining = false;
  let gone = false;
  let handling = 0;

  /**
   * Nobody else would end a job that runs here while this worker lives. What was paid for is offered for as long as the job is
   * ours; only an outcome that cannot be written whoever waits is given up for one that can.
   */
  const settleSomehow = async (settlement: Settlement, workerId: string): Promise<boolean> => {
    for (;;) {
      try {
        return await settle(settlement);
      } catch (error) {
        ctx.log.error({ err: error, job: settlement.jobId }, 'an outcome cannot be written');
        if (!mayPass(error)) return settle(unwritten(settlement));
        if (!lease.holds(workerId)) throw error;
      }
    }
  };

  const handle = async (message: Message): Promise<void> => {
    if (draining) return;
    handling += 1;
    try {
      await lease.held();
      if (draining) return;
      crashPoint('message-taken');
      const claimed = await claim(message);
      if (!claimed) return;
      const brake = brakes.open(claimed.jobId);
      // The drain may have begun, or the lease lapsed, while the claim was under way.
      if (gone || !lease.holds(claimed.workerId)) brake.pull('leave');
      try {
        const settlement = await run(ctx, tools, { claimed, brake });
        if (settlement) await settleSomehow(settlement, claimed.workerId);
      } finally {
        brakes.close(claimed.jobId, brake);
      }
    } catch (error) {
      // The lease or the sweep brings the job back; nothing was decided here.
      ctx.log.error({ err: error, job: message.jobId }, 'a message could not be handled');
    } finally {
      handling -= 1;
    }
  };

  const consumers: Consumer[] = await Promise.all(
    queues.map((kind) => ctx.queue.consume(kind, { concurrency, handle })),
  );
  const idle = async (until: number): Promise<boolean> => {
    while (handling > 0 && performance.now() < until) await sleep(20);
    return handling === 0;
  };

  return {
    running: () => handling,
    async drain(forMs) {
      draining = true;
      const until = performance.now() + forMs;
      await Promise.race([
        Promise.allSettled(consumers.map((consumer) => consumer.stopTaking())),
        sleep(1_000),
      ]);
      if (!(await idle(until))) {
        ctx.log.info({ jobs: handling }, 'the time to drain is over; running jobs are handed back');
        gone = true;
        brakes.pullAll('leave');
        await idle(performance.now() + HANDBACK_MS);
      }
      unsubscribe();
      await lease.end().catch((error: Error) => ctx.log.warn({ err: error }, 'the lease could not be ended'));
      await Promise.race([Promise.allSettled(consumers.map((consumer) => consumer.close())), sleep(1_000)]);
    },
  };
}
