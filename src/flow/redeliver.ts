// Deliveries that are sent again, one or those of a span of time.
import type { Context } from '../context.ts';
import { readAs } from '../db/transaction.ts';
import { AppError, invalidRequest } from '../domain/errors.ts';
import { isId } from '../domain/ids.ts';
import { type DeliveryRow, findDelivery, redeliver, redeliverSpan } from '../store/delivery-log.ts';
import type { Endpoint } from '../store/endpoints.ts';
import { ownEndpoint } from './endpoints.ts';

/** The most that one request sends again. */
export const SPAN_MAX = 10_000;

/** @throws AppError not_found */
export async function ownDelivery(ctx: Context, accountId: string, id: string): Promise<DeliveryRow> {
  const found = isId('dlv', id)
    ? await readAs(ctx.client, accountId, (tx) => findDelivery(tx, accountId, id))
    : null;
  if (!found) throw new AppError('not_found');
  return found;
}

/** Begins a new round of calls. One that is called at this moment stays as it is. @throws AppError not_found, invalid_request */
export async function redeliverOne(ctx: Context, accountId: string, id: string): Promise<DeliveryRow> {
  const { endpointId } = await ownDelivery(ctx, accountId, id);
  assertOn(await ownEndpoint(ctx, accountId, endpointId));
  await redeliver(ctx.flow, accountId, id);
  ctx.bus.publish([{ type: 'deliveries' }]);
  return ownDelivery(ctx, accountId, id);
}

/** @throws AppError not_found, invalid_request */
export async function redeliverAll(
  ctx: Context,
  { accountId, id }: { accountId: string; id: string },
  span: { from: Date; to: Date; onlyFailed: boolean },
): Promise<{ count: number; next: Date | null }> {
  assertOn(await ownEndpoint(ctx, accountId, id));
  const done = await redeliverSpan(ctx.flow, { accountId, endpointId: id, ...span, limit: SPAN_MAX });
  ctx.bus.publish([{ type: 'deliveries' }]);
  return done;
}

function assertOn({ enabled }: Endpoint): void {
  if (enabled) return;
  const message = 'is of an endpoint that is switched off; switch it on first';
  throw invalidRequest({
    path: 'id',
    message,
    expected: 'an endpoint that is on',
    received: 'one that is off',
  });
}
