// How long an artifact is kept: its account's plan says so when it is made.
import type { Context } from '../context.ts';
import { termsFor } from '../domain/plan.ts';
import { expireArtifacts } from '../store/artifacts.ts';
import { planOf } from '../store/accounts.ts';
import { PASS_MAX } from './sweep-task.ts';

const DAY_MS = 24 * 3_600_000;

/** By the database's clock. `expiresAt` is null where the plan keeps for ever. */
export async function retentionOf(
  ctx: Context,
  accountId: string,
): Promise<{ now: Date; expiresAt: Date | null }> {
  const { now, planId, overrides } = await planOf(ctx.flow, accountId);
  const plan = ctx.catalogue().plans.get(planId);
  const days = plan ? termsFor(plan, overrides).retentionDays : null;
  return { now, expiresAt: days === null ? null : new Date(now.getTime() + days * DAY_MS) };
}

/**
 * Artifacts past their time are marked as deleted; whatever other artifact has the same bytes still has them, so those that
 * nobody names any more are left to `removeOrphans`. Uploads that were promised and never used have their own.
 */
export async function endRetention(ctx: Context): Promise<boolean> {
  const past = await expireArtifacts(ctx.flow, PASS_MAX);
  for (const { storageKey, pending } of past) if (pending) await ctx.storage.remove(storageKey);
  if (past.length > 0)
    ctx.log.info({ artifacts: past.length }, 'artifacts past their retention were deleted');
  return past.length === PASS_MAX;
}
