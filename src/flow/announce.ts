// What happens after a commit: the queue is rung and readers are woken. Both may be lost; the sweep and the readers'
// own looking make up for it, so nobody waits for them.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Context } from '../context.ts';
import { crashPoint } from '../crash.ts';
import { groupCommit } from '../db/group-commit.ts';
import type { Bell } from '../domain/job.ts';
import type { Wake } from '../live/bus.ts';

export interface Announcer {
  ring(bells: readonly Bell[]): void;
  wake(wakes: readonly Wake[]): void;
  /** Rings for webhooks, if there is anything to deliver. After the commit. */
  deliver(any: Promise<boolean>): void;
  /** For an orderly end: resolves once what was rung has been heard, or after a moment. */
  quiet(): Promise<void>;
}

const QUIET_WITHIN_MS = 2_000;

export function openAnnouncer({ queue, bus, log }: Pick<Context, 'queue' | 'bus' | 'log'>): Announcer {
  const ring = groupCommit(
    async (lists: (readonly Bell[])[]) => {
      await queue.ring(lists.flat());
      crashPoint('ring-after');
      return lists.map(() => undefined);
    },
    { max: 500, inFlight: 2, weight: (list) => list.length, patienceMs: 0 },
  );
  const ringing = new Set<Promise<void>>();
  return {
    ring(bells) {
      if (bells.length === 0) return;
      const rung = ring(bells).then(
        () => void ringing.delete(rung),
        (error: Error) => {
          ringing.delete(rung);
          log.warn({ err: error, bells: bells.length }, 'the queue could not be rung; the sweep will');
        },
      );
      ringing.add(rung);
    },
    wake: (wakes) => bus.publish(wakes),
    deliver: (any) => void any.then((yes) => yes && bus.publish([{ type: 'deliveries' }])),
    async quiet() {
      await Promise.race([Promise.all(ringing), sleep(QUIET_WITHIN_MS, undefined, { ref: false })]);
    },
  };
}
