// A subscription to all of an account's events.
import { persistently } from '../../db/transaction.ts';
import { type Batch, PATIENCE_MS } from '../../flow/frame.ts';
import type { Subscription } from './connection.ts';
import { eventFrames } from './frames.ts';
import { resetText } from './job-frames.ts';
import { caughtUpText, fail, type Following, type Told } from './told.ts';

/** While it listens there is no timer, no promise and no read of its own. */
export class AllEvents implements Subscription {
  at = 0n;
  readonly #following: Following;
  readonly #told: Told;
  #over = false;

  constructor(following: Following, told: Told) {
    this.#following = following;
    this.#told = told;
  }

  get #accountId(): string {
    return this.#told.connection.caller.accountId;
  }

  async catchUp(after: bigint | null): Promise<void> {
    const { api, reader, feeds } = this.#following;
    const { connection, name, wanted } = this.#told;
    const over = new AbortController();
    this.#abort = () => over.abort();
    const { signal } = over;
    const persistent = <T>(work: () => Promise<T>) => persistently(work, { forMs: PATIENCE_MS, signal });
    const start = async (from: bigint | null): Promise<void> => {
      const { at, reset } = await persistent(() => reader.start(this.#accountId, from));
      this.at = at;
      if (reset && !this.#over) connection.answer(resetText(name, reset.data));
    };
    try {
      await start(after);
      while (!this.#over) {
        const page = await persistent(() => reader.read(this.#accountId, this.at));
        if (this.#over) return;
        if (page.frames === null) {
          await start(this.at);
          continue;
        }
        this.at = page.last;
        const frames = eventFrames(page.frames, name, wanted);
        await connection.outbox.drained();
        if (this.#over) return;
        if (frames) connection.read(frames.bytes, frames.count);
        await connection.outbox.drained();
        if (this.#over || page.more || !feeds.join(this.#accountId, this)) continue;
        connection.answer(caughtUpText(name, this.at));
        this.#abort = null;
        return;
      }
    } catch (error) {
      if (!this.#over) fail(api.ctx, connection, error);
    }
  }

  hear(batch: Batch): void {
    const { connection, name, wanted } = this.#told;
    const frames = eventFrames(batch, name, wanted);
    if (frames) connection.tell(frames.bytes, frames.count);
  }

  lost(error: Error | null): void {
    if (error) fail(this.#following.api.ctx, this.#told.connection, error);
    else void this.catchUp(this.at);
  }

  #abort: (() => void) | null = null;

  stop(): void {
    this.#over = true;
    this.#abort?.();
    this.#following.feeds.leave(this.#accountId, this);
  }
}
