// What happens after a commit: the queue is rung and readers are woken. Both may be lost; the sweep and the readers'
// own looking make up for it, so nobody waits for them.
import type { Context } from '../context.ts';
import { crashPoint } from '../crash.ts';
import { groupCommit } from '../db/group-commit.ts';
import type { Bell } from '../domain/job.ts';
import type { Wake } from '../live/bus.ts';

export interface Announcer {
  ring(bells: readonly Bell[]): void;
  wake(wakes: readonly Wake[]): void;
}

export function openAnnouncer({ queue, bus, log }: Pick<Context, 'queue' | 'bus' | 'log'>): Announcer {
  const ring = groupCommit(
    async (lists: (readonly Bell[])[]) => {
      await queue.ring(lists.flat());
      crashPoint('ring-after');
      return lists.map(() => undefined);
    },
    { max: 500, inFlight: 2, weight: (list) => list.length },
  );
  return {
    ring(bells) {
      if (bells.length === 0) return;
      ring(bells).catch((error: Error) =>
        log.warn({ err: error, bells: bells.length }, 'the queue could not be rung; the sweep will'),
      );
    },
    wake: (wakes) => bus.publish(wakes),
  };
}
