// Lanes whose rows somebody holds. Each goes on by itself, in lists of its own, until one of them gets through: so nobody
// waits for a stranger's lock for longer than it takes to notice it.
import { setTimeout as sleep } from 'node:timers/promises';

interface Options<T> {
  lane: (item: T) => string;
  weight: (item: T) => number;
  /** The most weight of a list. A single item may weigh more and then goes alone. */
  max: number;
  /** Does a list of one lane. Answers with those that are to be tried again: the lock is still held. Never throws. */
  run: (list: T[]) => Promise<T[]>;
}

/** So many lanes at once: each may wait for its lock on a connection of its own. */
const LANES_IN_FLIGHT = 4;
const PAUSE_MS = 100;

export class Apart<T> {
  readonly #options: Options<T>;
  /** Whose turn it is first. */
  readonly #lanes = new Map<string, T[]>();
  readonly #flying = new Set<string>();

  constructor(options: Options<T>) {
    this.#options = options;
  }

  has(item: T): boolean {
    return this.#lanes.has(this.#options.lane(item));
  }

  put(items: readonly T[]): void {
    for (const item of items) {
      const lane = this.#options.lane(item);
      const before = this.#lanes.get(lane);
      if (before) before.push(item);
      else this.#lanes.set(lane, [item]);
    }
    this.#start();
  }

  #start(): void {
    for (const lane of this.#lanes.keys()) {
      if (this.#flying.size >= LANES_IN_FLIGHT) return;
      if (!this.#flying.has(lane)) void this.#fly(lane);
    }
  }

  async #fly(lane: string): Promise<void> {
    const items = this.#lanes.get(lane) as T[];
    this.#flying.add(lane);
    const again = await this.#options.run(this.#take(items));
    items.unshift(...again);
    if (again.length > 0) await sleep(PAUSE_MS);
    this.#flying.delete(lane);
    // To the end of the line, or out of it.
    this.#lanes.delete(lane);
    if (items.length > 0) this.#lanes.set(lane, items);
    this.#start();
  }

  #take(items: T[]): T[] {
    const { weight, max } = this.#options;
    let room = max;
    const end = items.findIndex((item) => (room -= weight(item)) < 0);
    return items.splice(0, end === -1 ? items.length : Math.max(end, 1));
  }
}
