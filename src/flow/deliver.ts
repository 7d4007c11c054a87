// Delivery: what is due of webhooks is taken, called and written down. PostgreSQL says what is due; the word that something
// may be only comes over the bus (docs/decisions/0018).
import type { Context } from '../context.ts';
import { groupCommit } from '../db/group-commit.ts';
import { isConnectionError, persistently, transaction } from '../db/transaction.ts';
import { CALL_MS, type CallResult, consequence, LANE_CALLS, thinBody, verdictOf } from '../domain/webhook.ts';
import {
  type Called,
  type Claimed,
  claimDeliveries,
  dueLanes,
  endWaiting,
  lockLanes,
  writeCalls,
} from '../store/deliveries.ts';
import { noteReached } from '../store/endpoints.ts';
import { callReceiver } from './call-receiver.ts';
import { disable, warn } from './endpoint-standing.ts';
import { openSecret } from './endpoint-secret.ts';

export type { Claimed };

export interface Delivery {
  /**
   * Takes what is due, to be called by the taker at once.
   * @param without accounts that are to wait, since they have many calls under way
   * @returns `more`: what is due may not have been seen to its end, and the next take should follow at once
   */
  take(options: { limit: number; without: readonly string[] }): Promise<{ taken: Claimed[]; more: boolean }>;
  /** Takes what is due of these lanes alone: of which a call has just ended, say. */
  takeOf(lanes: readonly string[], limit: number): Promise<Claimed[]>;
  /** Calls the receiver, and writes down what came of it. */
  deliver(claimed: Claimed): Promise<void>;
}

/** Past a call's own limit, so much until its caller is taken for dead. */
const CALLER_DEAD_MS = CALL_MS + 10_000;
const LIST_MAX = 200;
/** What came of a call is offered for as long as a database restart may take; then the receiver is called again. */
const PATIENCE_MS = 60_000;
const END_MAX = 1_000;

export function openDelivery(ctx: Context): Delivery {
  const write = groupCommit((list: Ended[], forMs) => writeList(ctx, list, forMs), {
    max: LIST_MAX,
    inFlight: 1,
    lane: ({ claimed }) => claimed.endpointId,
    patienceMs: PATIENCE_MS,
  });
  let walkedTo = '';
  return {
    async take({ limit, without }) {
      const { lanes, next } = await dueLanes(ctx.flow, { after: walkedTo, without });
      const walks = next !== null;
      walkedTo = next ?? '';
      const taken =
        lanes.length === 0
          ? []
          : await takeOf(
              ctx,
              lanes.map(({ lane }) => lane),
              limit,
            );
      return { taken, more: walks || taken.length === limit };
    },
    takeOf: (lanes, limit) => takeOf(ctx, lanes, limit),
    async deliver(claimed) {
      const result = await call(ctx, claimed);
      await write({ claimed, result });
    },
  };
}

async function takeOf(ctx: Context, lanes: readonly string[], limit: number): Promise<Claimed[]> {
  return transaction(ctx.flow, async (tx) => {
    const locked = await lockLanes(tx, lanes);
    const { open = [], closed = [] } = Object.groupBy(locked, ({ enabled }) => (enabled ? 'open' : 'closed'));
    const names = (list: typeof locked): string[] => list.map(({ lane }) => lane);
    // What was left over when an endpoint was switched off.
    if (closed.length > 0) await endWaiting(tx, names(closed), END_MAX);
    if (open.length === 0) return [];
    return claimDeliveries(tx, { lanes: names(open), atOnce: LANE_CALLS, limit, callMs: CALLER_DEAD_MS });
  });
}

async function call(ctx: Context, claimed: Claimed): Promise<CallResult> {
  const { body, eventId, endpointId, secret, oldSecret, payload, url } = claimed;
  if (body === null || eventId === null)
    return { httpStatus: null, error: 'the event is not kept any more', body: null, durationMs: 0 };
  const secrets = opened(ctx, endpointId, oldSecret === null ? [secret] : [secret, oldSecret]);
  if (secrets === null) return { httpStatus: null, error: 'our fault', body: null, durationMs: 0 };
  return callReceiver(ctx, { url, eventId, body: payload === 'thin' ? thinBody(body) : body, secrets });
}

/** Null: they were sealed with a key that this process does not have. */
function opened(ctx: Context, endpointId: string, sealed: readonly Buffer[]): string[] | null {
  try {
    return sealed.map((one) => openSecret(ctx, endpointId, one));
  } catch {
    ctx.alarms.raise(
      'error',
      'webhooks are not sent: their secrets were sealed with another MILLRACE_SECRET_KEY',
      {
        about: {},
      },
    );
    return null;
  }
}

interface Ended {
  claimed: Claimed;
  result: CallResult;
}

/** What came of calls, in one transaction; what it means for endpoints, one by one, since that is told by events. */
async function writeList(ctx: Context, list: Ended[], forMs: number): Promise<void[]> {
  const calls = list.map((ended) => ({ ...ended, called: calledOf(ended) }));
  const endpoints = calls.filter(({ claimed }) => !claimed.forJobs);
  const reached = new Set(idsOf(endpoints.filter(({ called }) => called.status === 'delivered')));
  const failed = idsOf(endpoints).filter((id) => !reached.has(id));
  const failing = await persistently(
    () =>
      transaction(ctx.flow, async (tx) => {
        const noted = noteReached(tx, { reached: [...reached], failed });
        writeCalls(
          tx,
          calls.map(({ called }) => called),
        );
        return noted;
      }),
    { forMs, on: isConnectionError },
  );
  ctx.counts.called(calls.map(({ called }) => called.status));
  const gone = new Set(idsOf(endpoints.filter(({ result }) => result.httpStatus === 410)));
  for (const { id, accountId, now, ...since } of failing) {
    const endpoint = { accountId, id };
    const what = gone.has(id) ? 'gone' : consequence(since, now);
    if (what === null) continue;
    // Lost, it is seen again at the next call that fails.
    await (
      what === 'warn'
        ? warn(ctx, endpoint)
        : disable(ctx, { ...endpoint, reason: what === 'gone' ? what : 'failing' })
    ).catch((error: Error) =>
      ctx.log.warn({ err: error, endpoint: id }, 'an endpoint that fails could not be seen to'),
    );
  }
  return list.map(() => undefined);
}

const idsOf = (list: readonly { claimed: Claimed }[]): string[] => [
  ...new Set(list.map(({ claimed }) => claimed.endpointId)),
];

function calledOf({ claimed, result }: Ended): Called {
  const { id, accountId, attempt, failures, at } = claimed;
  // An event that is gone will not come back.
  const verdict =
    claimed.body === null
      ? ({ status: 'failed' } as const)
      : verdictOf(result.httpStatus, failures, Math.random());
  const waitMs = verdict.status === 'pending' ? verdict.waitMs : null;
  return { ...result, id, accountId, attempt, startedAt: at, status: verdict.status, waitMs };
}
