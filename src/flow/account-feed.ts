// The events of accounts as they happen, for those who have heard all before: read once an account, and handed to each.
import { persistently } from '../db/transaction.ts';
import { type Hub, LOOK_ANYWAY_MS } from '../live/hub.ts';
import type { AccountReader } from './follow-account.ts';
import { type Batch, LOOK_RARELY_MS, PATIENCE_MS } from './frame.ts';

export interface Listener {
  /** The number of the last event it has heard. Kept here from the moment it joins. */
  at: bigint;
  hear(batch: Batch): void;
  /** It hears no more: events are missing (null), or cannot be read. It must look by itself where it goes on. */
  lost(error: Error | null): void;
}

export interface AccountFeeds {
  /** False: more has been told meanwhile. Read on, and try again. Nothing is heard before this returns. */
  join(accountId: string, listener: Listener): boolean;
  leave(accountId: string, listener: Listener): void;
}

/** One loop, one watch and one timer an account, however many listen. */
export function openAccountFeeds(reader: AccountReader, hub: Hub): AccountFeeds {
  const feeds = new Map<string, Feed>();
  return {
    join(accountId, listener) {
      const found = feeds.get(accountId);
      const known = found?.over === false ? found : undefined;
      if (known && listener.at < known.head) return false;
      const feed = known ?? new Feed(listener.at);
      feed.listeners.add(listener);
      if (known) return true;
      feeds.set(accountId, feed);
      void feed.run({ accountId, reader, hub }).finally(() => {
        if (feeds.get(accountId) === feed) feeds.delete(accountId);
      });
      return true;
    },
    leave(accountId, listener) {
      const feed = feeds.get(accountId);
      if (!feed?.listeners.delete(listener) || feed.listeners.size > 0) return;
      feeds.delete(accountId);
      feed.stop();
    },
  };
}

class Feed {
  readonly listeners = new Set<Listener>();
  /** All up to here has been told. */
  head: bigint;
  readonly #over = new AbortController();

  constructor(head: bigint) {
    this.head = head;
  }

  get over(): boolean {
    return this.#over.signal.aborted;
  }

  stop(): void {
    this.#over.abort();
  }

  async run({
    accountId,
    reader,
    hub,
  }: {
    accountId: string;
    reader: AccountReader;
    hub: Hub;
  }): Promise<void> {
    const { signal } = this.#over;
    const watch = hub.watch({ accountId });
    try {
      while (!signal.aborted) {
        const from = this.head;
        const page = await persistently(() => reader.read(accountId, from), { forMs: PATIENCE_MS, signal });
        if (signal.aborted) return;
        if (page.frames === null) return this.#lose(null);
        this.head = page.last;
        if (page.frames.length > 0) this.#tell(page.frames, from);
        if (!page.more) await watch.next(page.frames.length > 0 ? LOOK_ANYWAY_MS : LOOK_RARELY_MS, signal);
      }
    } catch (error) {
      if (!signal.aborted) this.#lose(error as Error);
    } finally {
      watch.close();
    }
  }

  #tell(batch: Batch, from: bigint): void {
    for (const listener of this.listeners) {
      const { at } = listener;
      if (at >= this.head) continue;
      listener.at = this.head;
      // Who joined ahead of us has heard the first of these.
      listener.hear(at === from ? batch : batch.filter(({ id }) => BigInt(id ?? 0) > at));
    }
  }

  /** Ends before they are told, so that whoever joins again begins another. */
  #lose(error: Error | null): void {
    const all = [...this.listeners];
    this.listeners.clear();
    this.stop();
    for (const listener of all) listener.lost(error);
  }
}
