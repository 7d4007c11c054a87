// Group commit: what arrives while a transaction is in flight makes the next list. There is no timer, so an idle system
// adds no latency, and a busy one pays for a transaction once a list.
import { Lanes } from './lanes.ts';
import { isDataError } from './transaction.ts';

interface Waiting<I, O> {
  item: I;
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
}

/**
 * Turns a function over lists into one over items. `run` answers with one output an item, in order, and must be
 * harmless when repeated. If the database refuses the data of a list, it is halved until the bad item stands alone.
 */
export function groupCommit<I, O>(
  run: (items: I[]) => Promise<O[]>,
  { max, inFlight, weight = () => 1, lane = () => '' }: GroupOptions<I>,
): (item: I) => Promise<O> {
  const waiting = new Lanes<Waiting<I, O>>();
  let flying = 0;

  const start = (): void => {
    while (flying < inFlight && waiting.size > 0) {
      const list = waiting.take(max, ({ item }) => weight(item));
      flying += 1;
      void settle(list).finally(() => {
        flying -= 1;
        start();
      });
    }
  };

  const settle = async (list: Waiting<I, O>[]): Promise<void> => {
    try {
      const outputs = await run(list.map(({ item }) => item));
      for (const [i, { resolve }] of list.entries()) resolve(outputs[i] as O);
    } catch (error) {
      if (list.length === 1 || !isDataError(error)) {
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
      waiting.put(lane(item), { item, resolve, reject });
      // Wait for the turn of the event loop, so that requests parsed together travel together.
      if (waiting.size === 1) setImmediate(start);
      else start();
    });
}
