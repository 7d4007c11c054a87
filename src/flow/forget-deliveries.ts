import type { Context } from '../context.ts';
import { databaseNow } from '../store/clock.ts';
import { removeDeliveries } from '../store/delivery-log.ts';

/** As long as a month of events is kept at least. */
const KEPT_MS = 31 * 86_400_000;
const LIST_MAX = 1_000;
/** Lists of a pass: the rest is for the next one. */
const LISTS_MAX = 20;

/** Removes deliveries and their calls once nobody can ask for their events any more. */
export async function forgetDeliveries(ctx: Context): Promise<void> {
  const before = new Date((await databaseNow(ctx.flow)).getTime() - KEPT_MS);
  for (let i = 0; i < LISTS_MAX; i++) if (!(await removeDeliveries(ctx.flow, before, LIST_MAX))) return;
}
