// What a call needs besides the job's row: its route with the key opened.
import type { Context } from '../context.ts';
import { isComputeTime } from '../domain/pricing.ts';
import type { Route } from '../providers/provider.ts';
import type { FullRoute } from '../store/catalogue.ts';
import { openSeal } from './seal.ts';

/** Who admitted the job may have heard of a new route before this process did. */
export async function findRoute(ctx: Context, id: string): Promise<FullRoute | undefined> {
  if (!ctx.catalogue().routes.has(id)) await ctx.refreshCatalogue();
  return ctx.catalogue().routes.get(id);
}

export function openRoute(ctx: Context, row: FullRoute): Route {
  const apiKey = row.sealedKey && openSeal(ctx.secrets.keys, `route:${row.id}`, row.sealedKey);
  return {
    id: row.id,
    provider: row.provider,
    upstreamModel: row.upstreamModel,
    baseUrl: row.baseUrl ?? '',
    apiKey,
    data: row.data,
    timed: row.cost.some(isComputeTime),
  };
}
