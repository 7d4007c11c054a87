// The events of several jobs in the order of their numbers: a reader goes on after the greatest it has heard, so before each
// it must have heard all that are less. Jobs are looked at each by itself, and one may be seen to end before another that
// ended before it.
import type { Context } from '../../context.ts';
import { persistently, readAs } from '../../db/transaction.ts';
import { PATIENCE_MS } from '../../flow/frame.ts';
import { jobEventsBetween } from '../../store/events.ts';

export class Turns {
  readonly #ctx: Context;
  readonly #accountId: string;
  /** Of each job the number after which its events will be told. */
  readonly #starts: ReadonlyMap<string, bigint>;
  #upTo = 0n;
  #waiting: (() => void)[] = [];
  #over = false;

  constructor(ctx: Context, accountId: string, starts: ReadonlyMap<string, bigint>) {
    this.#ctx = ctx;
    this.#accountId = accountId;
    this.#starts = starts;
  }

  /** Resolves once all events before that number have been told. Whoever can see it can see them: numbers are given in order. */
  async before(number: bigint): Promise<void> {
    if (this.#starts.size < 2) return;
    const accountId = this.#accountId;
    const query = { accountId, jobIds: [...this.#starts.keys()], after: this.#upTo, before: number };
    const found = await persistently(
      () => readAs(this.#ctx.client, accountId, (tx) => jobEventsBetween(tx, query)),
      { forMs: PATIENCE_MS },
    );
    const last = found.findLast(({ jobId, sequence }) => sequence > (this.#starts.get(jobId) ?? 0n));
    while (last && this.#upTo < last.sequence && !this.#over)
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** That number's event was told, or need not be. */
  told(number: bigint): void {
    if (number > this.#upTo) this.#upTo = number;
    this.#wake();
  }

  stop(): void {
    this.#over = true;
    this.#wake();
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
