/**
 * Reads that several ask for at the same moment are made once, and all get the same answer. A read that has begun is
 * joined by nobody: it may not see what the newcomer was woken for.
 */
export function shareReads<Q, A>(read: (query: Q) => Promise<A>): (key: string, query: Q) => Promise<A> {
  const boarding = new Map<string, Promise<A>>();
  return (key, query) => {
    const known = boarding.get(key);
    if (known) return known;
    const next = new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
      boarding.delete(key);
      return read(query);
    });
    boarding.set(key, next);
    return next;
  };
}
