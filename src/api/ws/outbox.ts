// What leaves on one connection. What its client asked for goes at the client's pace; what happens by itself may wait for
// it up to a bound, beyond which it is too slow.
import { once } from 'node:events';
import type { Duplex } from 'node:stream';

/** So much may wait of what was not asked for. */
export const WAITING_MAX_BYTES = 1024 * 1024;

export class Outbox {
  readonly #socket: Duplex;
  #asked = 0;
  #draining: Promise<void> | null = null;
  #lastPiece: Promise<unknown> = Promise.resolve();

  constructor(socket: Duplex) {
    this.#socket = socket;
  }

  /** Bytes of answers and backlog that have not left. */
  get asked(): number {
    return this.#asked;
  }

  /** Writes what the client asked for. @param left called once it has left, or the connection has gone */
  answer(frames: Buffer, left?: () => void): void {
    this.#asked += frames.length;
    this.#socket.write(frames, () => {
      this.#asked -= frames.length;
      left?.();
    });
  }

  /** Writes what happened by itself. False: too much waits already, and nothing was written. */
  tell(frames: Buffer): boolean {
    if (this.#socket.writableLength - this.#asked > WAITING_MAX_BYTES) return false;
    this.#socket.write(frames);
    return true;
  }

  /** Resolves when more may be written, or the connection has gone. Of many that wait, the first fills it again for the others. */
  async drained(): Promise<void> {
    while (this.#socket.writableNeedDrain && !this.#socket.destroyed) {
      this.#draining ??= this.#drain().finally(() => {
        this.#draining = null;
      });
      await this.#draining;
    }
  }

  /**
   * Does work that reads for this connection and writes what it read: once the connection takes more, and one piece after
   * the other, since a client may have a hundred backlogs and take nothing of any.
   */
  piece<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#lastPiece.then(() => this.drained()).then(work);
    this.#lastPiece = mine.catch(() => {});
    return mine;
  }

  async #drain(): Promise<void> {
    const over = new AbortController();
    const { signal } = over;
    const either = [once(this.#socket, 'drain', { signal }), once(this.#socket, 'close', { signal })];
    // It was cut, or one of the two was given up for the other.
    for (const one of either) one.catch(() => {});
    await Promise.race(either).catch(() => {});
    over.abort();
  }
}
