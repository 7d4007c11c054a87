// Waiting lines side by side, served in turn: who brings much waits behind nobody but himself.

interface Lane<T> {
  items: T[];
  /** Those before it are gone. */
  next: number;
}

/** Past so many gone items a lane is packed. */
const PACK_AT = 1_000;

export class Lanes<T> {
  /** Those with something waiting, the one whose turn it is first. */
  readonly #lanes = new Map<string, Lane<T>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  put(name: string, item: T): void {
    const lane = this.#lanes.get(name);
    if (lane) lane.items.push(item);
    else this.#lanes.set(name, { items: [item], next: 0 });
    this.#size += 1;
  }

  /**
   * The next items, one of each lane in turn and round again, up to a weight of `max`. What does not fit waits for its
   * next turn, but the first of a list fits always.
   */
  take(max: number, weight: (item: T) => number): T[] {
    const taken: T[] = [];
    let room = max;
    for (let before = -1; taken.length > before && room > 0;) {
      before = taken.length;
      // Served lanes go to the end of the map, so each is met once a round.
      for (const name of Array.from(this.#lanes.keys())) {
        const heavy = weight(this.#head(name));
        if (heavy > room && taken.length > 0) continue;
        taken.push(this.#shift(name));
        room -= heavy;
        if (room <= 0) break;
      }
    }
    return taken;
  }

  #head(name: string): T {
    const lane = this.#lanes.get(name) as Lane<T>;
    return lane.items[lane.next] as T;
  }

  #shift(name: string): T {
    const lane = this.#lanes.get(name) as Lane<T>;
    const item = lane.items[lane.next++] as T;
    this.#size -= 1;
    this.#lanes.delete(name);
    if (lane.next > PACK_AT) Object.assign(lane, { items: lane.items.slice(lane.next), next: 0 });
    if (lane.next < lane.items.length) this.#lanes.set(name, lane);
    return item;
  }
}
