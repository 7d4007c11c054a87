// The operator's key is made anew: because it was lost, or because somebody else has it.
import type { Context } from '../context.ts';
import { transaction } from '../db/transaction.ts';
import { newId } from '../domain/ids.ts';
import { noteDeed } from '../store/audit-log.ts';
import { lockAdminKeys, revokeAdminKeys } from '../store/keys.ts';
import { createKey } from './accounts.ts';

/**
 * Makes an operator's key, in place of all there are, which every process is told to take no more.
 * @param options.keepOthers leaves them valid
 * @param options.hand is given the key, which is not kept, before it is valid: if it fails, nothing has changed. If the
 *   commit behind it fails, the key it was given is not valid, and those before it still are
 * @returns how many keys were revoked
 */
export async function renewAdminKey(
  ctx: Context,
  { keepOthers, hand }: { keepOthers: boolean; hand(token: string): Promise<void> },
): Promise<{ revoked: number }> {
  const revoked = await transaction(ctx.flow, async (tx) => {
    // Two at once would revoke what they both saw, and not each other's.
    await lockAdminKeys(tx);
    const revoked = keepOthers ? 0 : await revokeAdminKeys(tx);
    const token = await createKey(ctx, tx, { accountId: null, mode: 'admin', name: 'renewed' });
    const deed = { id: newId('log'), actor: 'npm run admin-key', action: 'admin_key.renew', target: 'admin' };
    noteDeed(tx, { ...deed, reason: null, details: { revoked } });
    await hand(token);
    return revoked;
  });
  // Whoever remembers keys forgets them at this word.
  ctx.bus.publish([{ type: 'catalogue' }]);
  return { revoked };
}
