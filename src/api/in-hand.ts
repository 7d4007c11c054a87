import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';

/** As long as a submission waits for the database, and longer than a client's read may take: who takes longer is broken off. */
const PATIENCE_MS = 12_000;

export interface InHand {
  /** Counts work that no route's handler does. */
  add(work: Promise<unknown>): void;
  /** Resolves once no handler is at work, or after some seconds. */
  done(): Promise<void>;
}

/**
 * Knows the requests that handlers are at work on, of routes added from now on. Closing a server waits for connections; a
 * client that has hung up has none, while what it asked for is being written.
 */
export function watchHandlers(app: FastifyInstance): InHand {
  const working = new Set<Promise<unknown>>();
  const add = (work: Promise<unknown>): void => {
    working.add(work);
    const end = (): void => void working.delete(work);
    work.then(end, end);
  };
  app.addHook('onRoute', (route) => {
    const { handler } = route;
    route.handler = function (request, reply) {
      const answer: unknown = handler.call(this, request, reply);
      if (answer instanceof Promise) add(answer);
      return answer;
    };
  });
  return {
    add,
    async done() {
      const late = sleep(PATIENCE_MS, 'late', { ref: false });
      while (working.size > 0) {
        if ((await Promise.race([Promise.allSettled(working), late])) === 'late') return;
      }
    },
  };
}
