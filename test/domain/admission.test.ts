import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { admitOne, type Applicant, type Books, type OpenLot } from '../../src/domain/admission.ts';
import { AppError } from '../../src/domain/errors.ts';
import { busySlots, countBusy, type SlotSet, withSlot } from '../../src/domain/slots.ts';

const NOW = new Date('2026-11-20T12:00:00.000Z');
const TAGS = ['free', 'pro'] as const;

const lot = fc.record({
  remaining: fc.bigInt({ min: 0n, max: 60n }),
  tag: fc.constantFrom(null, null, ...TAGS),
});
const status = fc.constantFrom<Books['status']>(
  'active',
  'active',
  'active',
  'restricted',
  'suspended',
  'closed',
);

const books: fc.Arbitrary<Books> = fc
  .record({
    status,
    lots: fc.array(lot, { maxLength: 5 }),
    /** Credits in lots that have lapsed and were not swept yet: in the balance, and in nobody's reach. */
    lapsed: fc.bigInt({ min: 0n, max: 50n }),
    held: fc.bigInt({ min: 0n, max: 100n }),
    // Beyond `slots` too: a plan may have been lowered while all its slots were in use.
    busy: fc.uniqueArray(fc.integer({ min: 1, max: 12 }), { maxLength: 8 }),
    slots: fc.nat({ max: 8 }),
    lineWaiting: fc.nat({ max: 6 }),
    lineLength: fc.nat({ max: 6 }),
  })
  .map(({ lots, lapsed, busy, ...rest }) => {
    const open = lots.map((lot, i): OpenLot => ({ ...lot, id: `lot_${i}` }));
    return {
      ...rest,
      id: 'acc_1',
      statusSince: NOW,
      supportUrl: null,
      lots: open,
      available: open.reduce((sum, { remaining }) => sum + remaining, lapsed),
      busySlots: busy.reduce<SlotSet>((set, slot) => withSlot(set, slot, true), new Uint8Array()),
    };
  });

const applicant: fc.Arbitrary<Applicant> = fc.record({
  jobId: fc.constant('job_1'),
  hold: fc.bigInt({ min: 0n, max: 80n }),
  maxCredits: fc.option(fc.bigInt({ min: 0n, max: 80n }), { freq: 3 }),
  tags: fc.uniqueArray(fc.constantFrom(...TAGS)),
  deadline: fc.oneof(
    { weight: 4, arbitrary: fc.constant({ inSeconds: 3_600 }) },
    { weight: 1, arbitrary: fc.record({ inSeconds: fc.integer({ min: 1, max: 100_000 }) }) },
    {
      weight: 1,
      arbitrary: fc
        .integer({ min: -100, max: 90_000 })
        .map((seconds) => new Date(NOW.getTime() + seconds * 1000)),
    },
  ),
  maxDeadlineS: fc.constant(86_400),
});

const usable = (lots: readonly OpenLot[], tags: readonly string[]): OpenLot[] =>
  lots.filter(({ tag }) => tag === null || tags.includes(tag));
const total = (lots: readonly OpenLot[]): bigint => lots.reduce((sum, { remaining }) => sum + remaining, 0n);

/** Every reason there is to refuse, in no order. */
function reasons(books: Books, { hold, maxCredits, tags, deadline, maxDeadlineS }: Applicant): Set<string> {
  const at = deadline instanceof Date ? deadline.getTime() : NOW.getTime() + deadline.inSeconds * 1000;
  const running = countBusy(books.busySlots);
  return new Set([
    ...(books.status === 'suspended' ? ['account_suspended'] : []),
    ...(books.status === 'closed' ? ['account_closed'] : []),
    ...(at > NOW.getTime() + maxDeadlineS * 1000 ? ['invalid_request'] : []),
    ...(at <= NOW.getTime() ? ['deadline_unreachable'] : []),
    ...(maxCredits !== null && hold > maxCredits ? ['cost_over_max'] : []),
    ...(total(usable(books.lots, tags)) < hold ? ['out_of_credits'] : []),
    ...(running >= books.slots && books.lineWaiting >= books.lineLength ? ['queue_full'] : []),
  ]);
}

function refusal(act: () => unknown): AppError | null {
  try {
    act();
    return null;
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
}

describe('admission', () => {
  it('admits exactly what nothing forbids, and names one of the reasons otherwise', () => {
    const seen = new Map<string, number>();
    fc.assert(
      fc.property(books, applicant, (books, applicant) => {
        const why = reasons(books, applicant);
        const refused = refusal(() => admitOne(books, applicant, NOW));
        const code = refused?.code ?? 'admitted';
        seen.set(code, (seen.get(code) ?? 0) + 1);
        if (refused) expect([...why]).toContain(refused.code);
        else expect([...why]).toEqual([]);
      }),
      { numRuns: 4_000 },
    );
    // Else the property would say nothing of that answer.
    expect([...seen.keys()].toSorted()).toEqual([
      'account_closed',
      'account_suspended',
      'admitted',
      'cost_over_max',
      'deadline_unreachable',
      'invalid_request',
      'out_of_credits',
      'queue_full',
    ]);
  });

  it('takes nothing from who is refused', () => {
    fc.assert(
      fc.property(books, applicant, (books, applicant) => {
        const before = structuredClone(books);
        refusal(() => admitOne(books, applicant, NOW));
        expect(books).toEqual(before);
      }),
    );
  });

  it('moves the whole hold from available to held, and from lots that may pay, the first to lapse first', () => {
    fc.assert(
      fc.property(books, applicant, (books, applicant) => {
        if (reasons(books, applicant).size > 0) return;
        const { admission, books: after } = admitOne(books, applicant, NOW);
        expect(after.available).toBe(books.available - applicant.hold);
        expect(after.held).toBe(books.held + applicant.hold);
        let left = applicant.hold;
        for (const lot of books.lots) {
          const take = admission.takes.filter(({ lotId }) => lotId === lot.id);
          const may = lot.tag === null || applicant.tags.includes(lot.tag);
          // Greedy: a lot is touched only once all before it that may pay are empty.
          const due = may ? (lot.remaining < left ? lot.remaining : left) : 0n;
          expect(take.map(({ amount }) => amount)).toEqual(due > 0n ? [due] : []);
          expect(after.lots.find(({ id }) => id === lot.id)?.remaining).toBe(lot.remaining - due);
          left -= due;
        }
        expect(left).toBe(0n);
        expect(admission.takes).toHaveLength(new Set(admission.takes.map(({ lotId }) => lotId)).size);
      }),
    );
  });

  it('gives the lowest free slot, or a place in the line; never more of either than there are', () => {
    fc.assert(
      fc.property(books, applicant, (books, applicant) => {
        if (reasons(books, applicant).size > 0) return;
        const { admission, books: after } = admitOne(books, applicant, NOW);
        const before = new Set(busySlots(books.busySlots));
        if (admission.slot === null) {
          expect(before.size).toBeGreaterThanOrEqual(books.slots);
          expect(after.lineWaiting).toBe(books.lineWaiting + 1);
          expect(after.lineWaiting).toBeLessThanOrEqual(books.lineLength);
          expect(after.busySlots).toEqual(books.busySlots);
        } else {
          for (let slot = 1; slot < admission.slot; slot++) expect(before.has(slot)).toBe(true);
          expect(before.has(admission.slot)).toBe(false);
          expect(countBusy(after.busySlots)).toBe(before.size + 1);
          expect(countBusy(after.busySlots)).toBeLessThanOrEqual(books.slots);
          expect(after.lineWaiting).toBe(books.lineWaiting);
        }
      }),
    );
  });

  it('decides a list one by one: together the admitted never go beyond credits, slots and line', () => {
    fc.assert(
      fc.property(books, fc.array(applicant, { maxLength: 12 }), (first, applicants) => {
        let books = first;
        let spent = 0n;
        let slots = 0;
        let places = 0;
        for (const applicant of applicants) {
          if (refusal(() => admitOne(books, applicant, NOW))) continue;
          const { admission, books: after } = admitOne(books, applicant, NOW);
          books = after;
          spent += applicant.hold;
          if (admission.slot === null) places++;
          else slots++;
        }
        expect(spent <= total(first.lots)).toBe(true);
        expect(total(first.lots) - total(books.lots)).toBe(spent);
        expect(books.lots.every(({ remaining }) => remaining >= 0n)).toBe(true);
        expect(slots).toBeLessThanOrEqual(Math.max(0, first.slots - countBusy(first.busySlots)));
        expect(places).toBeLessThanOrEqual(Math.max(0, first.lineLength - first.lineWaiting));
      }),
    );
  });

  it('says what a refused client needs to know', () => {
    const books: Books = {
      id: 'acc_1',
      status: 'active',
      statusSince: NOW,
      supportUrl: null,
      available: 30n,
      held: 12n,
      lots: [
        { id: 'lot_0', remaining: 20n, tag: null },
        { id: 'lot_1', remaining: 10n, tag: 'pro' },
      ],
      busySlots: withSlot(new Uint8Array(), 1, true),
      lineWaiting: 3,
      slots: 1,
      lineLength: 3,
    };
    const asked: Applicant = {
      jobId: 'job_1',
      hold: 25n,
      maxCredits: null,
      tags: ['free'],
      deadline: { inSeconds: 60 },
      maxDeadlineS: 86_400,
    };
    // What the lots of this model's tags could pay, not what the account has in all.
    expect(refusal(() => admitOne(books, asked, NOW))).toMatchObject({
      code: 'out_of_credits',
      status: 403,
      details: { required: 25, available: 20, held: 12, shortfall: 5 },
    });
    expect(refusal(() => admitOne(books, { ...asked, hold: 20n }, NOW))).toMatchObject({
      code: 'queue_full',
      status: 429,
      details: { waiting: 3, max: 3 },
    });
    expect(refusal(() => admitOne(books, { ...asked, maxCredits: 24n }, NOW))).toMatchObject({
      code: 'cost_over_max',
      status: 422,
      details: { required: 25, max_credits: 24 },
    });
  });

  it('takes a deadline up to the plan’s last second and not one beyond, and none that has come', () => {
    const books: Books = {
      id: 'acc_1',
      status: 'active',
      statusSince: NOW,
      supportUrl: null,
      available: 0n,
      held: 0n,
      lots: [],
      busySlots: new Uint8Array(),
      lineWaiting: 0,
      slots: 1,
      lineLength: 0,
    };
    const ask = (deadline: Applicant['deadline']) => () =>
      admitOne(
        books,
        { jobId: 'job_1', hold: 0n, maxCredits: null, tags: [], deadline, maxDeadlineS: 60 },
        NOW,
      );
    const at = (ms: number) => new Date(NOW.getTime() + ms);
    expect(ask(at(60_000))().admission.deadline).toEqual(at(60_000));
    expect(ask({ inSeconds: 60 })().admission.deadline).toEqual(at(60_000));
    expect(ask(at(1))().admission.deadline).toEqual(at(1));
    expect(refusal(ask(at(60_001)))).toMatchObject({ code: 'invalid_request' });
    expect(refusal(ask({ inSeconds: 61 }))).toMatchObject({ code: 'invalid_request' });
    expect(refusal(ask(at(0)))).toMatchObject({ code: 'deadline_unreachable' });
    // A text that no calendar knows must not slip between the two comparisons.
    expect(refusal(ask(new Date(Number.NaN)))).toMatchObject({ code: 'invalid_request' });
  });
});
