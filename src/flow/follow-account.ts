// Every numbered event of an account, for ever. Subscribers of one account who are equally far share what is read.
import type { Context } from '../context.ts';
import { persistently, readAs } from '../db/transaction.ts';
import { renderEventData } from '../domain/job-view.ts';
import { type Hub, LOOK_ANYWAY_MS } from '../live/hub.ts';
import { openJobs } from '../store/jobs.ts';
import { eventRange, lookAtEvents } from '../store/looks.ts';
import { type Batch, type Frame, LOOK_RARELY_MS, PATIENCE_MS } from './frame.ts';
import { shareReads } from './share-reads.ts';

export interface AccountFollow {
  accountId: string;
  /** The number of the last event heard; 0 for all that is kept; null for none but new ones. */
  after: bigint | null;
  signal: AbortSignal;
}

export type FollowAccount = (follow: AccountFollow) => AsyncGenerator<Batch>;

/** The most jobs that a `reset` shows. */
const SNAPSHOT_MAX = 1_000;

export interface Page {
  /** Null: the events that should come next are gone, or were never there. */
  frames: Batch | null;
  last: bigint;
  more: boolean;
}

export interface AccountReader {
  /** What comes after a number; whoever asks for the same at the same moment gets the same. */
  read(accountId: string, after: bigint): Promise<Page>;
  /** Where a cursor goes on; null: from now. One that cannot be served gets a `reset` with what is open at present. */
  start(accountId: string, after: bigint | null): Promise<{ at: bigint; reset: Frame | null }>;
}

export function openAccountReader(ctx: Context): AccountReader {
  const shared = shareReads(({ accountId, after }: { accountId: string; after: bigint }) =>
    readPage(ctx, accountId, after),
  );
  return {
    read: (accountId, after) => shared(`${accountId} ${after}`, { accountId, after }),
    start: (accountId, after) => openAt(ctx, accountId, after),
  };
}

export function openAccountFollower({ ctx, hub }: { ctx: Context; hub: Hub }): FollowAccount {
  const reader = openAccountReader(ctx);

  return async function* follow({ accountId, after, signal }) {
    const watch = hub.watch({ accountId });
    const persistent = <T>(work: () => Promise<T>) => persistently(work, { forMs: PATIENCE_MS, signal });
    const start = async function* (after: bigint | null): AsyncGenerator<Batch, bigint> {
      const { at, reset } = await persistent(() => reader.start(accountId, after));
      if (reset) yield [reset];
      return at;
    };
    try {
      let at: bigint = yield* start(after);
      while (!signal.aborted) {
        const from = at;
        const page: Page = await persistent(() => reader.read(accountId, from));
        if (page.frames === null) {
          at = yield* start(at);
          continue;
        }
        at = page.last;
        if (page.frames.length > 0) yield page.frames;
        if (!page.more) await watch.next(page.frames.length > 0 ? LOOK_ANYWAY_MS : LOOK_RARELY_MS, signal);
      }
    } finally {
      watch.close();
    }
  };
}

/** Numbers have no gaps, so the next event is the next number. */
async function readPage(ctx: Context, accountId: string, after: bigint): Promise<Page> {
  const { events, more } = await lookAtEvents(ctx.client, { accountId, after });
  const first = events[0]?.sequence;
  if (first !== undefined && first !== after + 1n) return { frames: null, last: after, more };
  const frames = events.map(({ sequence, type, body }): Frame => ({
    id: String(sequence),
    event: type,
    data: body,
  }));
  return { frames, last: events.at(-1)?.sequence ?? after, more };
}

async function openAt(
  ctx: Context,
  accountId: string,
  after: bigint | null,
): Promise<{ at: bigint; reset: Frame | null }> {
  return readAs(ctx.client, accountId, async (tx) => {
    const { oldest, newest } = await eventRange(tx, accountId);
    if (after === null) return { at: newest, reset: null };
    if (after === 0n) return { at: oldest - 1n, reset: null };
    const ahead = after > newest;
    if (!ahead && after + 1n >= oldest) return { at: after, reset: null };
    const jobs = await openJobs(tx, accountId, SNAPSHOT_MAX + 1);
    const shown = jobs.slice(0, SNAPSHOT_MAX).map((job) => renderEventData(job, ctx.publicUrl()));
    const reason = ahead ? 'cursor_ahead' : 'cursor_expired';
    const data = `{"reason":"${reason}","cursor":${newest},"jobs":[${shown.join(',')}],"has_more":${jobs.length > SNAPSHOT_MAX}}`;
    return { at: newest, reset: { id: String(newest), event: 'reset', data } };
  });
}
