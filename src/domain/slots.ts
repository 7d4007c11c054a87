// An account's slots in use, as a bit set: slot n is bit n-1. Immutable buffers, since a list is decided on copies.

export type SlotSet = Uint8Array;

export function isBusy(set: SlotSet, slot: number): boolean {
  return (((set[(slot - 1) >> 3] ?? 0) >> ((slot - 1) & 7)) & 1) === 1;
}

export function withSlot(set: SlotSet, slot: number, busy: boolean): SlotSet {
  const at = (slot - 1) >> 3;
  const next = new Uint8Array(Math.max(set.length, at + 1));
  next.set(set);
  const bit = 1 << ((slot - 1) & 7);
  next[at] = busy ? (next[at] ?? 0) | bit : (next[at] ?? 0) & ~bit;
  return next;
}

/**
 * The lowest free slot number up to `total`, or null. Low numbers go first in the queue, which is what makes waiting fair.
 * Null also where `total` slots are in use with numbers beyond it, as after a plan was lowered: the number counts, not
 * the numbers.
 */
export function lowestFree(set: SlotSet, total: number): number | null {
  if (countBusy(set) >= total) return null;
  for (let at = 0; at * 8 < total; at++) {
    const byte = set[at] ?? 0;
    if (byte === 0xff) continue;
    const slot = at * 8 + (31 - Math.clz32(~byte & -~byte)) + 1;
    return slot <= total ? slot : null;
  }
  return null;
}

/** A job that may take a free slot; its own, if it holds one unheard. */
export interface Candidate {
  slot: number | null;
}

/**
 * Gives an account's free slots away. Those who hold one already and wait to be heard move down first, in their order:
 * low numbers go first in the queue, so without this who came first would keep a high number and see everybody pass
 * who comes later. What they leave and what is still free goes to the line.
 */
export function giveFree<C extends Candidate>(
  busy: SlotSet,
  total: number,
  candidates: readonly C[],
): { busy: SlotSet; moved: (C & { slot: number })[]; given: (C & { slot: number })[] } {
  let set = busy;
  const moved: (C & { slot: number })[] = [];
  const given: (C & { slot: number })[] = [];
  const left: number[] = [];
  for (const candidate of candidates) {
    const slot = lowestFree(set, total);
    if (candidate.slot === null || slot === null || slot > candidate.slot) continue;
    set = withSlot(set, slot, true);
    left.push(candidate.slot);
    moved.push({ ...candidate, slot });
  }
  // Only now, so that nobody moves to a number that another leaves in the same statement.
  for (const slot of left) set = withSlot(set, slot, false);
  for (const candidate of candidates) {
    const slot = lowestFree(set, total);
    if (candidate.slot !== null || slot === null) continue;
    set = withSlot(set, slot, true);
    given.push({ ...candidate, slot });
  }
  return { busy: set, moved, given };
}

export function countBusy(set: SlotSet): number {
  let count = 0;
  for (const byte of set) for (let rest = byte; rest !== 0; rest &= rest - 1) count++;
  return count;
}

/** The numbers in use, ascending. */
export function busySlots(set: SlotSet): number[] {
  return Array.from({ length: set.length * 8 }, (_, i) => i + 1).filter((slot) => isBusy(set, slot));
}
