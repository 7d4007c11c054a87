// The queue may forget what it was given: it is emptied, or fails over to a copy that is behind. PostgreSQL knows how many
// messages there should be; if the queue holds fewer, every job that waits for its message is rung again.
import type { Context } from '../context.ts';
import { type Bell, type Kind, KINDS } from '../domain/job.ts';
import { type Expected, expectedMessages, ringAll } from '../store/sweep.ts';

const PAGE = 500;
/** How long a ring may take to arrive. */
const ARRIVAL_MS = 200;

/** To be called at every pass of one sweep. */
export function openRingLost(): (ctx: Context) => Promise<boolean> {
  // Jobs that ran when the queue lost their messages run on without. Counted for ever after, they would have everything
  // rung at every pass until the last of them ends.
  let goneBefore: Date | null = null;

  return async (ctx) => {
    if ((await expectedMessages(ctx.flow, { settledMs: ARRIVAL_MS, goneBefore })).length === 0) return false;
    // The queue first, the jobs after: what is heard and done in between is then missing on both sides.
    const began = performance.now();
    const depths = new Map<Kind, number>();
    for (const kind of KINDS) depths.set(kind, await ctx.queue.depth(kind));
    const settledMs = ARRIVAL_MS + performance.now() - began;
    for (const expected of await expectedMessages(ctx.flow, { settledMs, goneBefore })) {
      if ((depths.get(expected.kind) ?? 0) >= expected.messages) continue;
      await ringKind(ctx, expected);
      goneBefore = expected.at;
    }
    return false;
  };
}

/** One instant for all pages: each job is rung once, however long it takes. */
async function ringKind(ctx: Context, { kind, waiting, at }: Expected): Promise<void> {
  const before = new Date(at.getTime() - ARRIVAL_MS);
  let bells: Bell[];
  do {
    bells = await ringAll(ctx.flow, { kind, before, limit: PAGE });
    // Awaited, so that a slow queue is not flooded, and one that refuses is not asked for more.
    if (bells.length > 0) await ctx.queue.ring(bells);
  } while (bells.length === PAGE);
  ctx.log.warn({ kind, waiting }, 'the queue had lost messages; the jobs that wait were rung again');
}
