// A queue in memory that does everything a queue may do wrong, on purpose and by a seed: what Millrace must bear from any.
// `openBroker` is the server, `connect` what one process holds of it. Without malice it is simply a queue.
import { setImmediate as turn } from 'node:timers/promises';
import type { Bell, Kind } from '../../src/domain/job.ts';
import type { Consumer, Message, Queue } from '../../src/queue/queue.ts';
import { type Dice, rollDice } from './dice.ts';

/** How likely each misdeed is, from 0 to 1. */
export interface Malice {
  /** A message never arrives. */
  lose: number;
  /** It arrives twice. */
  double: number;
  /** It arrives one to two leases late. */
  delay: number;
  /** Another is heard before the one whose turn it is. */
  reorder: number;
  /** One that was done arrives once more. */
  resurrect: number;
  /** The depth told is too high, too low or 0. */
  misreport: number;
  /** Ringing fails, though half of the list went through. */
  refuse: number;
}

export const CALM: Malice = {
  lose: 0,
  double: 0,
  delay: 0,
  reorder: 0,
  resurrect: 0,
  misreport: 0,
  refuse: 0,
};
export const CRUEL: Malice = {
  lose: 0.1,
  double: 0.15,
  delay: 0.1,
  reorder: 0.5,
  resurrect: 0.15,
  misreport: 0.3,
  refuse: 0.05,
};

/** What it did, counted where it happened and not where it was planned. */
export interface Deeds {
  rung: number;
  heard: number;
  lost: number;
  doubled: number;
  /** Heard more than a lease after they were rung. */
  delayed: number;
  /** Heard while one waited that should have been heard before. */
  reordered: number;
  resurrected: number;
  misreported: number;
  refused: number;
}

export interface Broker {
  connect(): Queue;
  deeds(): Deeds;
  /** Messages of a kind that wait or are being handled: the truth, whatever `depth` says. */
  holds(kind: Kind): number;
  /** Forgets everything that waits, as a FLUSHALL does. */
  wipe(): void;
}

export interface BrokerOptions {
  seed: number;
  malice?: Malice;
  leaseMs: number;
  /** How long after a consumer is gone what it held is heard again. */
  redeliverMs?: number;
}

interface Entry {
  id: string;
  kind: Kind;
  message: Message;
  slot: number;
  order: number;
  rungAt: number;
  /** It was heard and done before: late, but that was counted as what it is. */
  old?: true;
}

interface Taker {
  kind: Kind;
  concurrency: number;
  handle(message: Message): Promise<void>;
  taking: boolean;
  holding: Set<Entry>;
}

export function openBroker({ seed, malice = CALM, leaseMs, redeliverMs = 500 }: BrokerOptions): Broker {
  const dice: Dice = rollDice(seed);
  const waiting = new Map<Kind, Entry[]>();
  const takers = new Set<Taker>();
  const deeds: Deeds = {
    rung: 0,
    heard: 0,
    lost: 0,
    doubled: 0,
    delayed: 0,
    reordered: 0,
    resurrected: 0,
    misreported: 0,
    refused: 0,
  };
  let orders = 0;

  const lineOf = (kind: Kind): Entry[] => {
    const line = waiting.get(kind) ?? [];
    waiting.set(kind, line);
    return line;
  };
  const heldOf = (kind: Kind): Entry[] =>
    [...takers].filter((taker) => taker.kind === kind).flatMap((taker) => [...taker.holding]);

  const put = (entry: Entry): void => {
    lineOf(entry.kind).push({ ...entry, order: orders++ });
    pump(entry.kind);
  };
  const putLater = (entry: Entry, ms: number): void => void setTimeout(() => put(entry), ms).unref();

  const ringOne = (bell: Bell): void => {
    deeds.rung++;
    const entry = entryOf(bell);
    const twin = lineOf(bell.kind).find(({ id }) => id === entry.id);
    if (twin && bell.repeat === 'moved') Object.assign(twin, { slot: bell.slot, order: orders++ });
    // As with BullMQ, a name that waits or is being handled is not taken twice.
    if (twin || heldOf(bell.kind).some(({ id }) => id === entry.id)) return;
    if (dice.rolls(malice.lose)) {
      deeds.lost++;
      return;
    }
    if (dice.rolls(malice.double)) {
      deeds.doubled++;
      putLater(entry, dice.below(leaseMs));
    }
    if (dice.rolls(malice.delay)) putLater(entry, leaseMs + dice.below(leaseMs));
    else put(entry);
  };

  /** Hands out what waits while somebody has a hand free. */
  const pump = (kind: Kind): void => {
    const line = lineOf(kind);
    for (;;) {
      const free = [...takers].filter(
        (taker) => taker.kind === kind && taker.taking && taker.holding.size < taker.concurrency,
      );
      if (free.length === 0 || line.length === 0) return;
      hand(free[dice.below(free.length)] as Taker, pick(line));
    }
  };

  const pick = (line: Entry[]): Entry => {
    line.sort((a, b) => a.slot - b.slot || a.order - b.order);
    const at = line.length > 1 && dice.rolls(malice.reorder) ? 1 + dice.below(line.length - 1) : 0;
    if (at > 0) deeds.reordered++;
    return line.splice(at, 1)[0] as Entry;
  };

  const hand = (taker: Taker, entry: Entry): void => {
    taker.holding.add(entry);
    deeds.heard++;
    if (!entry.old && performance.now() - entry.rungAt > leaseMs) deeds.delayed++;
    void turn()
      .then(() => taker.handle(entry.message))
      .finally(() => {
        // A consumer that is gone has nothing to say about it any more.
        if (!takers.has(taker)) return;
        taker.holding.delete(entry);
        if (dice.rolls(malice.resurrect)) {
          deeds.resurrected++;
          putLater({ ...entry, old: true }, dice.below(2 * leaseMs));
        }
        pump(taker.kind);
      });
  };

  const letGo = (taker: Taker): void => {
    if (!takers.delete(taker)) return;
    for (const entry of taker.holding) putLater(entry, redeliverMs);
  };

  return {
    deeds: () => ({ ...deeds }),
    holds: (kind) => lineOf(kind).length + heldOf(kind).length,
    wipe: () => waiting.clear(),
    connect() {
      const mine = new Set<Taker>();
      return {
        backend: 'memory',
        async ring(bells) {
          const refused = dice.rolls(malice.refuse);
          for (const bell of refused ? bells.slice(0, bells.length >> 1) : bells) ringOne(bell);
          if (!refused) return;
          deeds.refused++;
          throw new Error('the queue refused, or so it says');
        },
        async consume(kind, { concurrency, handle }) {
          const taker: Taker = { kind, concurrency, handle, taking: true, holding: new Set() };
          takers.add(taker);
          mine.add(taker);
          pump(kind);
          return consumerOf(taker, letGo);
        },
        async depth(kind) {
          const real = lineOf(kind).length + heldOf(kind).length;
          if (!dice.rolls(malice.misreport)) return real;
          deeds.misreported++;
          return [0, real >> 1, 2 * real + 7][dice.below(3)] as number;
        },
        async ping() {},
        async close() {
          for (const taker of mine) letGo(taker);
        },
      };
    },
  };
}

function consumerOf(taker: Taker, letGo: (taker: Taker) => void): Consumer {
  return {
    async stopTaking() {
      taker.taking = false;
    },
    async close() {
      letGo(taker);
    },
  };
}

function entryOf({ kind, accountId, jobId, epoch, slot, repeat }: Bell): Entry {
  return {
    id: `${jobId}-${epoch}${repeat === 'late' ? '-late' : ''}`,
    kind,
    message: { accountId, jobId, epoch },
    slot,
    order: 0,
    rungAt: performance.now(),
  };
}
