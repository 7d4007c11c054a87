import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { busySlots, countBusy, isBusy, lowestFree, type SlotSet, withSlot } from '../../src/domain/slots.ts';

const slot = fc.integer({ min: 1, max: 70 });
const numbers = fc.uniqueArray(slot, { maxLength: 70 });
const setOf = (slots: readonly number[]): SlotSet =>
  slots.reduce<SlotSet>((set, n) => withSlot(set, n, true), new Uint8Array());

/** The same question asked of an ordinary set. */
function firstFree(busy: ReadonlySet<number>, total: number): number | null {
  if (busy.size >= total) return null;
  for (let n = 1; n <= total; n++) if (!busy.has(n)) return n;
  return null;
}

describe('slots as bits', () => {
  it('take and give back what a set of numbers would', () => {
    const steps = fc.array(fc.record({ slot, busy: fc.boolean() }), { maxLength: 60 });
    fc.assert(
      fc.property(steps, (steps) => {
        const model = new Set<number>();
        let set: SlotSet = new Uint8Array();
        for (const { slot, busy } of steps) {
          set = withSlot(set, slot, busy);
          if (busy) model.add(slot);
          else model.delete(slot);
          expect(busySlots(set)).toEqual([...model].toSorted((a, b) => a - b));
          expect(countBusy(set)).toBe(model.size);
        }
        for (let n = 1; n <= 80; n++) expect(isBusy(set, n)).toBe(model.has(n));
      }),
    );
  });

  it('find the lowest free number, and none where as many as the total are in use above it', () => {
    fc.assert(
      fc.property(numbers, fc.integer({ min: 0, max: 80 }), (busy, total) => {
        expect(lowestFree(setOf(busy), total)).toBe(firstFree(new Set(busy), total));
      }),
      { numRuns: 1_000 },
    );
  });

  it('fill up in order, and then say that all are taken', () => {
    let set: SlotSet = new Uint8Array();
    for (let n = 1; n <= 100; n++) {
      expect(lowestFree(set, 100)).toBe(n);
      set = withSlot(set, n, true);
    }
    expect(lowestFree(set, 100)).toBeNull();
    expect(lowestFree(set, 101)).toBe(101);
  });

  it('never change the set they were given', () => {
    fc.assert(
      fc.property(numbers, slot, fc.boolean(), (busy, slot, value) => {
        const set = setOf(busy);
        const before = [...set];
        withSlot(set, slot, value);
        expect([...set]).toEqual(before);
      }),
    );
  });
});
