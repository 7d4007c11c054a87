// Admission, decided: what an account's books allow, one job after the other. Pure; flow/admit.ts reads the books under
// the account's lock and writes down what is decided here.
import { AppError, invalidRequest } from './errors.ts';
import { notOpen, type Standing } from './standing.ts';
import { lowestFree, type SlotSet, withSlot } from './slots.ts';

/** Credits that a hold may take from, in the order they are taken. */
export interface OpenLot {
  id: string;
  remaining: bigint;
  /** Bound to models with this tag; null: any. */
  tag: string | null;
}

/** An account's books as its row lock shows them. */
export interface Books {
  id: string;
  status: Standing['status'];
  statusSince: Date;
  /** Where a refused owner may ask; null: the operator named no such place. */
  supportUrl: string | null;
  available: bigint;
  held: bigint;
  lots: readonly OpenLot[];
  busySlots: SlotSet;
  lineWaiting: number;
  slots: number;
  lineLength: number;
}

/** One job that asks to be let in. */
export interface Applicant {
  jobId: string;
  hold: bigint;
  maxCredits: bigint | null;
  /** The model's tags, which decide what lots may pay. */
  tags: readonly string[];
  /** The deadline as an instant, or as seconds from now. */
  deadline: Date | { inSeconds: number };
  maxDeadlineS: number;
}

export interface Admission {
  /** Null: it waits in the line. */
  slot: number | null;
  deadline: Date;
  /** What the hold takes from which lot. */
  takes: { lotId: string; amount: bigint }[];
}

/** The admission and the books after it. @throws AppError the refusal, in which case the books stay as they were. */
export function admitOne(
  books: Books,
  applicant: Applicant,
  now: Date,
): { admission: Admission; books: Books } {
  if (books.status === 'suspended' || books.status === 'closed') throw notOpen(books, books.supportUrl);
  const deadline = deadlineOf(applicant, now);
  if (applicant.maxCredits !== null && applicant.hold > applicant.maxCredits) {
    throw new AppError('cost_over_max', {
      message: `The job may cost ${applicant.hold} credits, more than max_credits (${applicant.maxCredits}). Raise it, or lower the bound of the output.`,
      details: { required: Number(applicant.hold), max_credits: Number(applicant.maxCredits) },
    });
  }
  const { takes, lots } = takeFromLots(books, applicant);
  const slot = lowestFree(books.busySlots, books.slots);
  if (slot === null && books.lineWaiting >= books.lineLength) {
    throw new AppError('queue_full', {
      details: { waiting: books.lineWaiting, max: books.lineLength, slots: books.slots },
    });
  }
  return {
    admission: { slot, deadline, takes },
    books: {
      ...books,
      available: books.available - applicant.hold,
      held: books.held + applicant.hold,
      lots,
      busySlots: slot === null ? books.busySlots : withSlot(books.busySlots, slot, true),
      lineWaiting: books.lineWaiting + (slot === null ? 1 : 0),
    },
  };
}

function deadlineOf({ deadline, maxDeadlineS }: Applicant, now: Date): Date {
  const latest = now.getTime() + maxDeadlineS * 1000;
  const at = deadline instanceof Date ? deadline.getTime() : now.getTime() + deadline.inSeconds * 1000;
  // Not `at > latest`, which an instant that is no number would pass.
  if (!(at <= latest)) {
    const expected = `within ${maxDeadlineS} seconds from now`;
    const received = Number.isNaN(at)
      ? 'no instant'
      : `${Math.round((at - now.getTime()) / 1000)} seconds from now`;
    throw invalidRequest({ path: 'deadline', message: `must lie ${expected}`, expected, received });
  }
  if (at <= now.getTime()) {
    throw new AppError('deadline_unreachable', {
      message: 'The deadline has passed already.',
      details: { eta_ms: null },
    });
  }
  return new Date(at);
}

function takeFromLots(
  books: Books,
  { hold, tags }: Applicant,
): Pick<Admission, 'takes'> & { lots: OpenLot[] } {
  let missing = hold;
  const takes: Admission['takes'] = [];
  const lots = books.lots.map((lot) => {
    const usable = lot.tag === null || tags.includes(lot.tag);
    const amount = !usable ? 0n : lot.remaining < missing ? lot.remaining : missing;
    if (amount === 0n) return lot;
    missing -= amount;
    takes.push({ lotId: lot.id, amount });
    return { ...lot, remaining: lot.remaining - amount };
  });
  if (missing > 0n) {
    const available = hold - missing;
    throw new AppError('out_of_credits', {
      message: `The job may cost ${hold} credits and the account has ${available} available. Add credits, or lower the bound of the output.`,
      details: {
        required: Number(hold),
        available: Number(available),
        held: Number(books.held),
        shortfall: Number(missing),
      },
    });
  }
  return { takes, lots };
}
