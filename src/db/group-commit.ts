// Group commit: what arrives while a list is in flight makes the next one. There is no timer, so an idle system adds no
// latency, and a busy one pays for a transaction once a list.
import { Apart } from './apart.ts';
import { Lanes } from './lanes.ts';
import { isConnectionError, isContention } from './transaction.ts';

interface Waiting<I, O> {
  item: I;
  since: number;
  resolve: (output: O) => void;
  reject: (error: unknown) => void;
}

export interface GroupOptions<I> {
  /** The most weight of a list. A single item may weigh more and then goes alone. */
  max: number;
  /** How many lists may be in flight at once. */
  inFlight: number;
  weight?: (item: I) => number;
  /** Whose an item is: lists are filled from all lanes in turn. Without it, in the order of arrival. */
  lane?: (item: I) => string;
  /** How long an item is worth waiting for: a list is tried again while the database is away for what is left of it. */
  patienceMs: number;
  /** Who has waited too long, or would have more than `most` weight before it, is refused unsent. */
  refuse?: { most: number; with: () => Error };
}

/**
 * Turns a function over lists into one over items. `run` answers with one output an item, in order, and must be
 * harmless when repeated. Nobody fails or waits for a stranger's sake: a list that fails is halved until the bad item
 * stands alone, and one that met a lock is done again lane by lane, side by side (apart.ts).
 * @param run throws when the database has been away for `forMs`, and at once for anything else
 */
export function groupCommit<I, O>(
  run: (items: I[], forMs: number) => Promise<O[]>,
  { max, inFlight, weight = () => 1, lane = () => '', patienceMs, refuse }: GroupOptions<I>,
): (item: I) => Promise<O> {
  const waiting = new Lanes<Waiting<I, O>>();
  let flying = 0;
  let heavy = 0;
  let scheduled = false;

  const left = ({ since }: Waiting<I, O>): number => patienceMs - (performance.now() - since);

  const start = (): void => {
    while (flying < inFlight && waiting.size > 0) {
      const taken = waiting.take(max, ({ item }) => weight(item)).filter(stillWanted);
      const { list = [], aside = [] } = Object.groupBy(taken, (one) => (apart.has(one) ? 'aside' : 'list'));
      apart.put(aside);
      if (list.length === 0) continue;
      flying += 1;
      void settle(list).finally(() => {
        flying -= 1;
        start();
      });
    }
  };

  const stillWanted = (one: Waiting<I, O>): boolean => {
    if (!refuse || left(one) > 0) return true;
    one.reject(refuse.with());
    return false;
  };

  /** Resolves or rejects everybody; those whose rows somebody holds, later. */
  const settle = async (list: Waiting<I, O>[]): Promise<void> => {
    try {
      await attempt(list);
    } catch (error) {
      if (isContention(error)) apart.put(list);
      else await divide(list, error);
    }
  };

  /** What becomes of a list that failed for anything but a lock. */
  const divide = async (list: Waiting<I, O>[], error: unknown): Promise<void> => {
    if (list.length === 1 || isConnectionError(error)) {
      for (const { reject } of list) reject(error);
      return;
    }
    const middle = list.length >> 1;
    await settle(list.slice(0, middle));
    await settle(list.slice(middle));
  };

  const attempt = async (list: Waiting<I, O>[]): Promise<void> => {
    const forMs = Math.max(0, Math.max(...list.map(left)));
    const outputs = await run(
      list.map(({ item }) => item),
      forMs,
    );
    for (const [i, { resolve }] of list.entries()) resolve(outputs[i] as O);
  };

  const apart = new Apart<Waiting<I, O>>({
    lane: ({ item }) => lane(item),
    weight: ({ item }) => weight(item),
    max,
    async run(list) {
      const wanted = list.filter(stillWanted);
      if (wanted.length === 0) return [];
      try {
        await attempt(wanted);
        return [];
      } catch (error) {
        if (!isContention(error)) return divide(wanted, error).then(() => []);
        for (const one of wanted) if (left(one) <= 0) one.reject(refuse?.with() ?? error);
        return wanted.filter((one) => left(one) > 0);
      }
    },
  });

  /** An item with its promise, counted until it is answered. */
  const enter = (item: I): { one: Waiting<I, O>; answered: Promise<O> } => {
    const { promise, resolve, reject } = Promise.withResolvers<O>();
    const leave = (): void => void (heavy -= weight(item));
    heavy += weight(item);
    promise.then(leave, leave);
    return { one: { item, since: performance.now(), resolve, reject }, answered: promise };
  };

  return (item) => {
    if (refuse && heavy > refuse.most) return Promise.reject(refuse.with());
    const { one, answered } = enter(item);
    if (apart.has(one)) {
      apart.put([one]);
      return answered;
    }
    waiting.put(lane(item), one);
    // Wait for the turn of the event loop, so that requests parsed together travel together.
    if (!scheduled) {
      scheduled = true;
      setImmediate(() => {
        scheduled = false;
        start();
      });
    }
    return answered;
  };
}
