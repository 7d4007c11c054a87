// Endpoints that fail: their owners are told, and in the end they are switched off. Under the account's lock, as all that
// writes events; so no event is written for an endpoint that is off.
import type { Context } from '../context.ts';
import type { Tx } from '../db/pool.ts';
import { persistently, transaction } from '../db/transaction.ts';
import { renderAccountEvent } from '../domain/event.ts';
import { newId } from '../domain/ids.ts';
import type { DisabledReason } from '../domain/webhook.ts';
import { type Account, lockAccounts, writeAccounts } from '../store/accounts.ts';
import { databaseNow } from '../store/clock.ts';
import { endWaiting } from '../store/deliveries.ts';
import { disableEndpoint, type Endpoint, noteWarned } from '../store/endpoints.ts';
import { appendEvents } from '../store/events.ts';

interface Named {
  accountId: string;
  id: string;
}

const PATIENCE_MS = 12_000;
/** The rest is ended by whoever finds it due. */
const END_MAX = 1_000;

/** Tells the owner, by an event, that nothing has got through for a while. */
export async function warn(ctx: Context, { accountId, id }: Named): Promise<void> {
  await withEvent(ctx, accountId, async (tx) => {
    const endpoint = await noteWarned(tx, accountId, id);
    return endpoint && { type: 'endpoint.failing', endpoint };
  });
}

/** Switches an endpoint off, ends what waits for it, and tells. Nothing if it is off. */
export async function disable(
  ctx: Context,
  { reason, ...named }: Named & { reason: DisabledReason },
): Promise<void> {
  await withEvent(ctx, named.accountId, async (tx) => {
    const endpoint = await disableEndpoint(tx, { ...named, reason });
    if (!endpoint) return null;
    await endWaiting(tx, [endpoint.id], END_MAX);
    return { type: 'endpoint.disabled', endpoint };
  });
}

type Told = { type: 'endpoint.failing' | 'endpoint.disabled'; endpoint: Endpoint } | null;

async function withEvent(ctx: Context, accountId: string, work: (tx: Tx) => Promise<Told>): Promise<void> {
  const attempt = async (tx: Tx): Promise<Promise<boolean>[]> => {
    const account = (await lockAccounts(tx, [accountId])).get(accountId);
    const told = account && (await work(tx));
    return told ? [writeEvent(tx, { account, told, now: await databaseNow(tx) })] : [];
  };
  const [toDeliver] = await persistently(() => transaction(ctx.flow, attempt), { forMs: PATIENCE_MS });
  if (toDeliver === undefined) return;
  ctx.bus.publish([
    { type: 'account', accountId },
    ...((await toDeliver) ? [{ type: 'deliveries' } as const] : []),
  ]);
}

function writeEvent(
  tx: Tx,
  { account, told, now }: { account: Account; told: NonNullable<Told>; now: Date },
): Promise<boolean> {
  const { id, url, failingSince, disabledReason } = told.endpoint;
  account.eventSequence += 1n;
  const event = {
    id: newId('ev'),
    type: told.type,
    sequence: account.eventSequence,
    at: now,
    accountId: account.id,
    livemode: account.livemode,
  };
  const status = disabledReason === null ? 'failing' : 'disabled';
  const data = { id, object: 'endpoint', status, url, failing_since: failingSince, reason: disabledReason };
  const toDeliver = appendEvents(
    tx,
    [{ ...event, jobId: null, body: renderAccountEvent(event, data), notTo: id }],
    now,
  );
  writeAccounts(tx, [account]);
  return toDeliver;
}
