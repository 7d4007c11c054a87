// Engines keep CPUs busy, so no more of them run at once than there are CPUs. Who comes first is first.

export interface Turns {
  /** Resolves with how to give the turn back, once `cpus` are free; with null once the signal is aborted. */
  take(cpus: number, signal: AbortSignal): Promise<(() => void) | null>;
}

interface Waiting {
  cpus: number;
  go(): void;
}

export function openTurns(cpusInAll: number): Turns {
  let free = cpusInAll;
  const line: Waiting[] = [];

  const advance = (): void => {
    while (line[0] && line[0].cpus <= free) line.shift()!.go();
  };

  return {
    take(wanted, signal) {
      if (signal.aborted) return Promise.resolve(null);
      const cpus = Math.min(wanted, cpusInAll);
      return new Promise((resolve) => {
        const waiting: Waiting = {
          cpus,
          go() {
            signal.removeEventListener('abort', leave);
            free -= cpus;
            let over = false;
            resolve(() => {
              if (over) return;
              over = true;
              free += cpus;
              advance();
            });
          },
        };
        const leave = (): void => {
          line.splice(line.indexOf(waiting), 1);
          resolve(null);
          // It may have stood before one that needs less.
          advance();
        };
        signal.addEventListener('abort', leave, { once: true });
        line.push(waiting);
        advance();
      });
    },
  };
}
