// An operator changes an account's terms.
import type { Context } from '../context.ts';
import { persistently, transaction } from '../db/transaction.ts';
import { AppError } from '../domain/errors.ts';
import { newId } from '../domain/ids.ts';
import type { PlanOverrides } from '../domain/plan.ts';
import { type Account, changeTerms, lockAccounts, writeAccounts } from '../store/accounts.ts';
import { noteDeed } from '../store/audit-log.ts';
import { databaseNow } from '../store/clock.ts';
import type { Announcer } from './announce.ts';
import { refill } from './changes.ts';

/** What is not named stays as it is; null takes an override away. */
export type OverridesChange = { [K in keyof PlanOverrides]: PlanOverrides[K] | null };

export interface AccountChange {
  id: string;
  plan?: string | undefined;
  status?: Account['status'] | undefined;
  overrides?: OverridesChange | undefined;
  reason?: string | undefined;
  actor: string;
}

const PATIENCE_MS = 12_000;

/**
 * Changes plan, status or overrides, and gives the slots that this sets free to those who wait: both, or neither.
 * @throws AppError not_found
 */
export async function changeAccount(
  ctx: Context,
  announcer: Announcer,
  change: AccountChange,
): Promise<void> {
  const { id, plan, status, overrides, reason = null, actor } = change;
  const deed = { id: newId('log'), actor, action: 'account.change', target: id, reason };
  const bells = await persistently(
    () =>
      transaction(ctx.flow, async (tx) => {
        changeTerms(tx, { id, plan: plan ?? null, status: status ?? null, overrides: overrides ?? null });
        const [accounts, now] = await Promise.all([lockAccounts(tx, [id]), databaseNow(tx)]);
        if (!accounts.has(id)) throw new AppError('not_found');
        const bells = await refill(tx, { ctx, now, accounts });
        if (bells.length > 0) writeAccounts(tx, accounts.values());
        noteDeed(tx, { ...deed, details: { plan, status, overrides } });
        return bells;
      }),
    { forMs: PATIENCE_MS },
  );
  announcer.ring(bells);
}
