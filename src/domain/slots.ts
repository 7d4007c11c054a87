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

export function countBusy(set: SlotSet): number {
  let count = 0;
  for (const byte of set) for (let rest = byte; rest !== 0; rest &= rest - 1) count++;
  return count;
}

/** The numbers in use, ascending. */
export function busySlots(set: SlotSet): number[] {
  return Array.from({ length: set.length * 8 }, (_, i) => i + 1).filter((slot) => isBusy(set, slot));
}
