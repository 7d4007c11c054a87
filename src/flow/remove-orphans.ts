// Bytes go into storage before the row that names them is written. Where that was never written, because a process died or
// a submission was refused, nobody will ever ask for them.
import type { Context } from '../context.ts';
import { orphanedKeys } from '../store/artifacts.ts';

/** Far longer than any write of a row can take after its bytes. */
const OLD_MS = 24 * 3_600_000;
const PASS_KEYS = 500;

/** To be called now and then; each call looks at the next so many keys, and begins again after the last. */
export function openRemoveOrphans(): (ctx: Context) => Promise<void> {
  let keys: AsyncIterator<{ key: string; ageMs: number }> | null = null;

  return async (ctx) => {
    if (keys === null) await ctx.storage.removeDrafts(OLD_MS);
    keys ??= ctx.storage.list()[Symbol.asyncIterator]();
    const old: string[] = [];
    for (let looked = 0; looked < PASS_KEYS; looked++) {
      const { done, value } = await keys.next();
      if (done) {
        keys = null;
        break;
      }
      if (value.ageMs > OLD_MS) old.push(value.key);
    }
    const orphaned = await orphanedKeys(ctx.flow, old);
    for (const key of orphaned) await ctx.storage.remove(key);
    if (orphaned.length > 0) ctx.log.info({ keys: orphaned.length }, 'bytes that no row names were removed');
  };
}
