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
  type Room,
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
   * @returns `more`: what is due may not have been seen to its end, and the next take should follow at once
   */
  take(room: Room): Promise<{ taken: Claimed[]; more: boolean }>;
  /** Takes what is due of these lanes alone: of which a call has just ended, say. */
  takeOf(lanes: readonly string[], room: Room): Promise<Claimed[]>;
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
    async take(room) {
      const full = [...room.underWay].filter(([, calls]) => calls >= room.perAccount);
      const without = full.map(([accountId]) => accountId);
      const { lanes, next } = await dueLanes(ctx.flow, { after: walkedTo, without });
      const walks = next !== null;
      walkedTo = next ?? '';
      const taken =
        lanes.length === 0
          ? []
          : await takeOf(
              ctx,
              lanes.map(({ lane }) => lane),
              room,
            );
      return { taken, more: walks || taken.length === room.limit };
    },
    takeOf: (lanes, room) => takeOf(ctx, lanes, room),
    async deliver(claimed) {
      const fate = await write({ claimed, ...(await call(ctx, claimed)) });
      if (fate !== null) await seeTo(ctx, claimed, fate);
    },
  };
}

async function takeOf(ctx: Context, lanes: readonly string[], room: Room): Promise<Claimed[]> {
  return transaction(ctx.flow, async (tx) => {
    const locked = await lockLanes(tx, lanes);
    const { open = [], closed = [] } = Object.groupBy(locked, ({ enabled }) => (enabled ? 'open' : 'closed'));
    const names = (list: typeof locked): string[] => list.map(({ lane }) => lane);
    // What was left over when an endpoint was switched off.
    if (closed.length > 0) await endWaiting(tx, names(closed), END_MAX);
    if (open.length === 0) return [];
    return claimDeliveries(tx, { lanes: names(open), atOnce: LANE_CALLS, callMs: CALLER_DEAD_MS, room });
  });
}

async function call(ctx: Context, claimed: Claimed): Promise<Omit<Ended, 'claimed'>> {
  const { body, eventId, endpointId, secret, oldSecret, payload, url } = claimed;
  const uncalled = (error: string): CallResult => ({ httpStatus: null, error, body: null, durationMs: 0 });
  if (body === null || eventId === null)
    return { result: uncalled('the event is not kept any more'), isOurs: true };
  const secrets = opened(ctx, endpointId, oldSecret === null ? [secret] : [secret, oldSecret]);
  if (secrets === null) return { result: uncalled('our fault'), isOurs: true };
  const message = { url, eventId, body: payload === 'thin' ? thinBody(body) : body, secrets };
  return { result: await callReceiver(ctx, message), isOurs: false };
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
  /** The receiver was not called, for no fault of its own. */
  isOurs: boolean;
}

/** What an endpoint's calls mean for itself. Null: nothing. */
type Fate = 'warn' | 'gone' | 'failing' | null;

/** What came of calls, in one transaction. For each what is to become of its endpoint, said once an endpoint. */
async function writeList(ctx: Context, list: Ended[], forMs: number): Promise<Fate[]> {
  const calls = list.map((ended) => ({ ...ended, called: calledOf(ended) }));
  const endpoints = calls.filter(({ claimed, isOurs }) => !claimed.forJobs && !isOurs);
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
  for (const { claimed, result, isOurs, called } of calls)
    if (!isOurs && called.status !== 'delivered') tell(ctx, claimed, result);
  const gone = new Set(idsOf(endpoints.filter(({ result }) => result.httpStatus === 410)));
  const fates = new Map(
    failing.map(
      ({ id, now, ...since }) => [id, gone.has(id) ? 'gone' : fateOf(consequence(since, now))] as const,
    ),
  );
  return list.map(({ claimed: { endpointId } }) => {
    const fate = fates.get(endpointId) ?? null;
    fates.delete(endpointId);
    return fate;
  });
}

const fateOf = (what: ReturnType<typeof consequence>): Fate => (what === 'disable' ? 'failing' : what);

/**
 * By events, so under the account's lock, which somebody may hold for long: whoever waits for it here is one call, and no
 * list of calls. Lost, it is seen again at the next call that fails.
 */
async function seeTo(
  ctx: Context,
  { accountId, endpointId: id }: Claimed,
  fate: NonNullable<Fate>,
): Promise<void> {
  const endpoint = { accountId, id };
  await (fate === 'warn' ? warn(ctx, endpoint) : disable(ctx, { ...endpoint, reason: fate })).catch(
    (error: Error) =>
      ctx.log.warn({ err: error, endpoint: id }, 'an endpoint that fails could not be seen to'),
  );
}

/** One line a minute of all that fail: whose receiver it is is the owner's to see, and that many do the operator's. */
function tell(ctx: Context, { id, accountId, endpointId }: Claimed, { error, httpStatus }: CallResult): void {
  const why = error ?? `status ${httpStatus}`;
  const example = { endpoint: endpointId, account: accountId, delivery: id, why };
  ctx.alarms.raise('warn', 'webhooks fail at their receivers', { about: {}, example });
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
