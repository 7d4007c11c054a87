// Group commit: what arrives while a transaction is in flight makes the next list. There is no timer, so an idle system
// adds no latency, and a busy one pays for a transaction once a list.
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
  /**
   * What has waited longer than `ms`, or would have more than `most` weight waiting before it, is refused unsent: whoever
   * asked has given up, or may ask again.
   */
  patience?: { ms: number; most: number; refusal: () => Error };
}

/**
 * Turns a function over lists into one over items. `run` answers with one output an item, in order, and must be
 * harmless when repeated. A list that fails for anything but the database being away or in contention is halved until
 * the bad item stands alone, so that nobody fails for a stranger's sake.
 */
export function groupCommit<I, O>(
  run: (items: I[]) => Promise<O[]>,
  { max, inFlight, weight = () => 1, lane = () => '', patience }: GroupOptions<I>,
): (item: I) => Promise<O> {
  const waiting = new Lanes<Waiting<I, O>>();
  let flying = 0;
  let heavy = 0;
  let scheduled = false;

  const start = (): void => {
    while (flying < inFlight && waiting.size > 0) {
      const list = take().filter(stillWanted);
      if (list.length === 0) continue;
      flying += 1;
      void settle(list).finally(() => {
        flying -= 1;
        start();
      });
    }
  };

  const take = (): Waiting<I, O>[] => {
    const list = waiting.take(max, ({ item }) => weight(item));
    for (const { item } of list) heavy -= weight(item);
    return list;
  };

  const stillWanted = ({ since, reject }: Waiting<I, O>): boolean => {
    if (!patience || performance.now() - since <= patience.ms) return true;
    reject(patience.refusal());
    return false;
  };

  const settle = async (list: Waiting<I, O>[]): Promise<void> => {
    try {
      const outputs = await run(list.map(({ item }) => item));
      for (const [i, { resolve }] of list.entries()) resolve(outputs[i] as O);
    } catch (error) {
      if (list.length === 1 || isConnectionError(error) || isContention(error)) {
        for (const { reject } of list) reject(error);
        return;
      }
      const middle = list.length >> 1;
      await settle(list.slice(0, middle));
      await settle(list.slice(middle));
    }
  };

  return (item) =>
    new Promise<O>((resolve, reject) => {
      if (patience && heavy > patience.most) return reject(patience.refusal());
      heavy += weight(item);
      waiting.put(lane(item), { item, since: performance.now(), resolve, reject });
      // Wait for the turn of the event loop, so that requests parsed together travel together.
      if (scheduled) return;
      scheduled = true;
      setImmediate(() => {
        scheduled = false;
        start();
      });
    });
}
