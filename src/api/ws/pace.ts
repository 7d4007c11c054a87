/** How many messages a connection may say in a second; after a quiet second as many at once. */
export const MESSAGES_A_SECOND = 50;

/** What a connection may still say. Time in which we do not listen is not held against it: what it said waits for us. */
export class Pace {
  #left: number = MESSAGES_A_SECOND;
  #at = performance.now();
  #resting = false;

  /** False: that was too many. */
  take(): boolean {
    if (!this.#resting) this.#earn(MESSAGES_A_SECOND);
    this.#left -= 1;
    // Twice: a second of the client's need not begin where one of ours does.
    return this.#left > -MESSAGES_A_SECOND;
  }

  rest(): void {
    this.#earn(MESSAGES_A_SECOND);
    this.#resting = true;
  }

  resume(): void {
    this.#earn(Infinity);
    this.#resting = false;
  }

  #earn(most: number): void {
    const now = performance.now();
    const earned = this.#left + ((now - this.#at) * MESSAGES_A_SECOND) / 1000;
    this.#left = Math.min(earned, Math.max(most, this.#left));
    this.#at = now;
  }
}
