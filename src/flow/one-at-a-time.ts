/**
 * For work so heavy that a process should not do two of it at once: one is done after the other, and whoever asks for what
 * another waits for already gets that answer.
 */
export function oneAtATime<Q, A>(work: (query: Q) => Promise<A>): (query: Q) => Promise<A> {
  const wanted = new Map<Q, Promise<A>>();
  let last: Promise<unknown> = Promise.resolve();
  return (query) => {
    const known = wanted.get(query);
    if (known) return known;
    const mine = last
      .catch(() => {})
      .then(() => work(query))
      .finally(() => wanted.delete(query));
    wanted.set(query, mine);
    last = mine;
    return mine;
  };
}
