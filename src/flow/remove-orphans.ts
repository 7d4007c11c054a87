// Bytes that nobody names: the last artifact that had them was deleted or is past its retention; a worker died between
// storing an output and settling its job, an API between storing a long input and admitting it. They go within a day.
import type { Context } from '../context.ts';
import { endTurn, takeTurn, unnamedKeys } from '../store/orphans.ts';

/** Its name among the turns: an audit asks when it was last done (I10). */
export const REMOVE_ORPHANS = 'remove_orphans';
const EVERY_S = 3_600;
/**
 * None may be older than a day (I10), and this is done every hour or so. Not sooner than that needs: after a restore of the
 * wrong database there is a day's time to notice, before what the right one names is gone.
 */
const OLDER_THAN_MS = 22 * 3_600_000;
/** Whoever found an artifact just before it was deleted may still be about to open it, or to admit a job that names it. */
const DELETED_FOR_S = 300;
const PAGE = 500;

/**
 * By one process an hour. Answers how many were removed, null if it was not our turn.
 * @param gone aborted, it is left as it is, to be begun anew in an hour
 */
export async function removeOrphans(ctx: Context, gone?: AbortSignal): Promise<number | null> {
  const at = await takeTurn(ctx.flow, { task: REMOVE_ORPHANS, everyS: EVERY_S });
  if (!at) return null;
  let removed = 0;
  let keys: string[] = [];
  const removeUnnamed = async (): Promise<void> => {
    const unnamed = await unnamedKeys(ctx.flow, keys, { deletedForS: DELETED_FOR_S });
    keys = [];
    for (const key of unnamed) {
      if (gone?.aborted) return;
      // Put again since it was listed: whoever did so is about to name it (docs/decisions/0015).
      const ageMs = await ctx.storage.age(key);
      if (ageMs === null || ageMs < OLDER_THAN_MS) continue;
      await ctx.storage.remove(key);
      removed += 1;
    }
  };
  for await (const { key, ageMs } of ctx.storage.list()) {
    if (gone?.aborted) return removed;
    if (ageMs < OLDER_THAN_MS) continue;
    keys.push(key);
    if (keys.length === PAGE) await removeUnnamed();
  }
  await removeUnnamed();
  if (gone?.aborted) return removed;
  await endTurn(ctx.flow, { task: REMOVE_ORPHANS, at });
  // Last: not every S3 server lists its unfinished uploads, and not every operator lets us ask.
  await ctx.storage.removeDrafts(OLDER_THAN_MS);
  if (removed > 0) ctx.log.info({ removed }, 'stored bytes that nobody names were removed');
  return removed;
}
