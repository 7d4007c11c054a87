// An operator changes what an account may do.
import type { Context } from '../context.ts';
import { persistently, transaction } from '../db/transaction.ts';
import { AppError } from '../domain/errors.ts';
import { newId } from '../domain/ids.ts';
import type { Bell } from '../domain/job.ts';
import type { PlanOverrides } from '../domain/plan.ts';
import { type Account, lockAccounts, writeAccounts } from '../store/accounts.ts';
import { databaseNow } from '../store/clock.ts';
import { refill } from './changes.ts';

const PATIENCE_MS = 12_000;

/** What is undefined stays. A plan must be one of the catalogue. */
export interface AccountChange {
  accountId: string;
  plan: string | undefined;
  status: Account['status'] | undefined;
  overrides: PlanOverrides | undefined;
  reason: string;
  actor: string;
}

/**
 * Changes the account, gives slots it has now to those who wait, and writes down who did it: all or nothing, since nobody
 * else would know that there are more slots than before. The caller rings.
 * @throws AppError not_found
 */
export async function changeAccount(ctx: Context, change: AccountChange): Promise<Bell[]> {
  const logId = newId('log');
  const { accountId, plan, status, overrides, reason, actor } = change;
  const work = () =>
    transaction(ctx.flow, async (tx) => {
      const [accounts, now] = await Promise.all([lockAccounts(tx, [accountId]), databaseNow(tx)]);
      const account = accounts.get(accountId);
      if (!account) throw new AppError('not_found');
      account.planId = plan ?? account.planId;
      account.status = status ?? account.status;
      account.overrides = overrides ?? account.overrides;
      tx.send({
        text: 'update accounts set plan_id = $2, status = $3, overrides = $4 where id = $1',
        values: [accountId, account.planId, account.status, JSON.stringify(account.overrides)],
      });
      tx.send({
        text: `insert into audit_log (id, actor, action, target, reason, details) values ($1, $2, 'account.change', $3, $4, $5)
          on conflict (id) do nothing`,
        values: [logId, actor, accountId, reason, JSON.stringify({ plan, status, overrides })],
      });
      const bells = await refill(tx, { ctx, now, accounts });
      writeAccounts(tx, accounts.values());
      return bells;
    });
  return persistently(work, { forMs: PATIENCE_MS });
}
