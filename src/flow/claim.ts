// Claim: messages become attempts. A message is only a hint; what it names is claimed if it still waits, and else void.
import type { Context } from '../context.ts';
import { crashPoint } from '../crash.ts';
import { groupCommit } from '../db/group-commit.ts';
import { isConnectionError, persistently } from '../db/transaction.ts';
import type { Message } from '../queue/queue.ts';
import { type Claimed, claimJobs } from '../store/claims.ts';
import type { Announcer } from './announce.ts';

/** Null: somebody else's by now, or nobody's. */
export type Claim = (message: Message) => Promise<Claimed | null>;

const LIST_MAX = 200;
/** Not longer than a lease, since a claim is made for a worker that must be alive to use it. */
const PATIENCE_MS = 5_000;

/** @param workerId asked anew for every list, since a worker that lost its lease goes on under another name */
export function openClaims(ctx: Context, announcer: Announcer, workerId: () => string): Claim {
  return groupCommit(
    async (messages: Message[], forMs) => {
      // Of two messages that say the same in one list one is void. Of two epochs of a job only one can be right, and
      // which one is for the database to say.
      const once = new Map(messages.map((message) => [nameOf(message), message]));
      // By id, as everybody locks jobs: another worker may hold the same bells in another order.
      const inOrder = [...once.values()].toSorted((a, b) => (a.jobId < b.jobId ? -1 : 1));
      const claimed = await persistently(() => claimJobs(ctx.flow, workerId(), inOrder), {
        forMs,
        on: isConnectionError,
      });
      if (claimed.length > 0) crashPoint('claim-after');
      announcer.wake(claimed.map(({ jobId }) => ({ type: 'live', jobId })));
      const byName = new Map(claimed.map((job) => [nameOf({ ...job, epoch: job.epoch - 1 }), job]));
      return messages.map((message) =>
        once.get(nameOf(message)) === message ? (byName.get(nameOf(message)) ?? null) : null,
      );
    },
    { max: LIST_MAX, inFlight: 1, lane: ({ accountId }) => accountId, patienceMs: PATIENCE_MS },
  );
}

const nameOf = ({ jobId, epoch }: { jobId: string; epoch: number }): string => `${jobId}-${epoch}`;
