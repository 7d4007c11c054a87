// What goes wrong again and again, as an operator can read it: told at once, and then at most once a minute, with how
// often it came since the last line.
import type { Logger } from 'pino';

const EVERY_MS = 60_000;

export interface Alarms {
  /**
   * @param about what makes it the same trouble; of few different values, and nothing that clients or vendors wrote
   * @param example what is shown besides, of the first and of the latest
   */
  raise(
    level: 'warn' | 'error',
    what: string,
    trouble: { about: Record<string, string | number | null>; example?: Record<string, string> },
  ): void;
  /** Tells what has not been told. */
  close(): void;
}

interface Raised {
  count: number;
  tell(): void;
  timer: NodeJS.Timeout;
}

export function openAlarms(log: Pick<Logger, 'warn' | 'error'>, everyMs = EVERY_MS): Alarms {
  const raised = new Map<string, Raised>();
  return {
    raise(level, what, { about, example = {} }) {
      const name = `${what} ${Object.values(about).join(' ')}`;
      const tell = (count: number): void => log[level]({ ...about, ...example, count }, what);
      const known = raised.get(name);
      if (known) {
        known.count += 1;
        known.tell = () => tell(known.count);
        return;
      }
      tell(1);
      const later = (): void => {
        if (one.count === 0) return void raised.delete(name);
        one.tell();
        one.count = 0;
        one.timer = setTimeout(later, everyMs).unref();
      };
      const one: Raised = { count: 0, tell: () => {}, timer: setTimeout(later, everyMs).unref() };
      raised.set(name, one);
    },
    close() {
      for (const { count, tell, timer } of raised.values()) {
        clearTimeout(timer);
        if (count > 0) tell();
      }
      raised.clear();
    },
  };
}
