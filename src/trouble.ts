// Trouble with a server's connections as an operator can read it. An outage says one thing hundreds of times a minute, from
// every connection of every pool: it is told at once, then how often it came again, and when it is over.
import type { Logger } from 'pino';

const REPEAT_AFTER_MS = 10_000;
const ASK_EVERY_MS = 1_000;

export interface Trouble {
  note(error: Error): void;
  /** What was closed on purpose may still hear its server go: no trouble. */
  over(): void;
}

interface Watched {
  /** What the log calls it, such as `PostgreSQL at 127.0.0.1:5432`. */
  server: string;
  /** Asks it anything; while there is trouble, each second. @throws while it is away */
  ask(): Promise<unknown>;
}

/** @param url of the server; what is secret in it is not in the answer */
export const serverName = (kind: string, url: string): string => `${kind} at ${new URL(url).host}`;

export function watchTrouble(log: Pick<Logger, 'warn' | 'info'>, { server, ask }: Watched): Trouble {
  const told = new Map<string, { at: number; again: number }>();
  let over = false;
  let since: number | null = null;
  let timer: NodeJS.Timeout | undefined;

  const askSoon = (): void => {
    timer = setTimeout(() => {
      ask().then(isBack, () => {
        if (!over) askSoon();
      });
    }, ASK_EVERY_MS).unref();
  };
  const isBack = (): void => {
    if (over || since === null) return;
    log.info({ server, after_ms: Math.round(performance.now() - since) }, 'connections work again');
    since = null;
    told.clear();
  };

  return {
    note(error) {
      if (over) return;
      const now = performance.now();
      if (since === null) {
        since = now;
        askSoon();
      }
      const { code, errors } = error as { code?: unknown; errors?: Error[] };
      const message = error.message || (errors ?? []).map((one) => one.message).join(', ');
      const last = told.get(message);
      if (last && now - last.at < REPEAT_AFTER_MS) {
        last.again += 1;
        return;
      }
      told.set(message, { at: now, again: 0 });
      const again = last && last.again > 0 ? { repeated: last.again } : {};
      const reason = { reason: message, ...(code === undefined ? {} : { code }) };
      log.warn({ server, ...reason, ...again }, 'connection trouble');
    },
    over() {
      over = true;
      clearTimeout(timer);
    },
  };
}
