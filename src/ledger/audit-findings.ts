// What an audit found so far.

export interface Breach {
  invariant: Invariant;
  account_id: string;
  /** The account, lot, job, artifact or transaction that is wrong. */
  subject: string;
  what: string;
}

export type Invariant = keyof typeof SAYS;

/** The invariants that one installation can judge by itself (docs/invariants.md). */
const SAYS = {
  I1: 'every balance and lot is the sum of its entries',
  I2: 'each job has one hold, resolved once, and never beyond it',
  I4: 'each job is in a state of the published graph, with the slot, place and events that go with it',
  I5: 'each job is charged at most once, for what it says it cost, and for nothing unless something was used',
  I10: 'every stored artifact is there, with its size and hash; bytes that nobody names are gone within a day',
} as const;

const SHOWN = 1_000;

export class Findings {
  /** The first thousand. */
  readonly breaches: Breach[] = [];
  /** Accounts with a breach. */
  readonly wrong = new Set<string>();
  readonly #tally = new Map<Invariant, { rows: number; breaches: number }>();

  constructor() {
    for (const id of Object.keys(SAYS) as Invariant[]) this.#tally.set(id, { rows: 0, breaches: 0 });
  }

  looked(id: Invariant, rows: number): void {
    this.#of(id).rows += rows;
  }

  found(breaches: readonly Breach[]): void {
    for (const breach of breaches) {
      this.#of(breach.invariant).breaches += 1;
      this.wrong.add(breach.account_id);
      if (this.breaches.length < SHOWN) this.breaches.push(breach);
    }
  }

  summary(): { id: Invariant; says: string; rows: number; breaches: number }[] {
    return [...this.#tally].map(([id, sum]) => ({ id, says: SAYS[id], ...sum }));
  }

  #of(id: Invariant): { rows: number; breaches: number } {
    return this.#tally.get(id) as { rows: number; breaches: number };
  }
}
