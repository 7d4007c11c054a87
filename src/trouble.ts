// Trouble with connections as an operator can read it. An outage says one thing hundreds of times a minute, from every
// connection of every pool: it is told at once, and then how often it came again.
import type { Logger } from 'pino';

const REPEAT_AFTER_MS = 10_000;

export interface Trouble {
  note(error: Error): void;
  /** What was closed on purpose may still hear its server go: no trouble. */
  over(): void;
}

export function watchTrouble(log: Pick<Logger, 'warn'>): Trouble {
  const told = new Map<string, { at: number; again: number }>();
  let over = false;
  return {
    note(error) {
      if (over) return;
      const { code, errors } = error as { code?: unknown; errors?: Error[] };
      const message = error.message || (errors ?? []).map((one) => one.message).join(', ');
      const last = told.get(message);
      const now = performance.now();
      if (last && now - last.at < REPEAT_AFTER_MS) {
        last.again += 1;
        return;
      }
      told.set(message, { at: now, again: 0 });
      const again = last && last.again > 0 ? { repeated: last.again } : {};
      log.warn({ reason: message, ...(code === undefined ? {} : { code }), ...again }, 'connection trouble');
    },
    over() {
      over = true;
    },
  };
}
