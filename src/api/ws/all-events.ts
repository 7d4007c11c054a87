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
  /** Up to where it knows that it has heard all. */
  #said = 0n;
  #over = false;

  constructor(following: Following, told: Told) {
    this.#following = following;
    this.#told = told;
  }

  get #accountId(): string {
    return this.#told.connection.caller.accountId;
  }

  async catchUp(after: bigint): Promise<void> {
    const { api, reader, feeds } = this.#following;
    const { connection, name, wanted } = this.#told;
    const { outbox } = connection;
    const over = new AbortController();
    this.#abort = () => over.abort();
    const { signal } = over;
    const persistent = <T>(work: () => Promise<T>) => persistently(work, { forMs: PATIENCE_MS, signal });
    const start = async (from: bigint): Promise<void> => {
      if (this.#over) return;
      const { at, reset } = await persistent(() => reader.start(this.#accountId, from));
      this.at = at;
      if (reset && !this.#over) connection.answer(resetText(name, reset.data));
    };
    /** Answers whether there is more. */
    const readOn = async (): Promise<boolean> => {
      if (this.#over) return true;
      const page = await persistent(() => reader.read(this.#accountId, this.at));
      if (page.frames === null) {
        await start(this.at);
        return true;
      }
      this.at = page.last;
      const frames = eventFrames(page.frames, name, wanted);
      if (frames && !this.#over) connection.read(frames.bytes, frames.count);
      return page.more;
    };
    try {
      await outbox.piece(() => start(after));
      while (!this.#over) {
        const more = await outbox.piece(readOn);
        await outbox.drained();
        if (this.#over || more || !feeds.join(this.#accountId, this)) continue;
        this.#caughtUp();
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
    if (!frames) return;
    connection.tell(frames.bytes, frames.count);
    this.#said = this.at;
  }

  /** Who hears little of what happens goes on from where it was told of all: not from its last event, which may not be kept any more. */
  beat(): void {
    if (this.#abort === null && !this.#over && this.at > this.#said) this.#caughtUp();
  }

  #caughtUp(): void {
    const { connection, name } = this.#told;
    connection.answer(caughtUpText(name, this.at));
    this.#said = this.at;
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
