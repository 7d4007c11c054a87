// All WebSockets of this process: how many a key has, whether it is still good, whose heart beats, and their end.
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '../../domain/errors.ts';
import { openAccountFeeds } from '../../flow/account-feed.ts';
import { openAccountReader } from '../../flow/follow-account.ts';
import type { Api } from '../api.ts';
import type { Authenticator, Caller } from '../auth.ts';
import type { InHand } from '../in-hand.ts';
import { CLOSE } from './close-codes.ts';
import { type Authority, Connection, type Hall } from './connection.ts';
import { answer } from './requests.ts';
import { SUBSCRIPTIONS_MAX } from './subscribe.ts';
import type { Following } from './told.ts';

const CONNECTIONS_A_KEY = 50;
/** Hearts beat one after the other, and not all at once. */
const SPOKES = 25;
/** Keys are looked at together, and at most so often. */
const LOOK_EVERY_MS = 250;

interface Key extends Authority {
  connections: Set<Connection>;
}

type Joining = Omit<ConstructorParameters<typeof Connection>[1], 'authority'> & { caller: Caller };

export interface Sockets {
  /** @throws AppError too_many_connections, overloaded while the process drains */
  assertRoom(keyId: string): void;
  join(joining: Joining): Connection;
  gauges(): { open: number; subscriptions: number };
  /** Says goodbye to all, and cuts off who has not gone by then. */
  close(withinMs: number): Promise<void>;
}

interface Tools {
  api: Api;
  authenticator: Authenticator;
  handlers: InHand;
}

export function openSockets({ api, authenticator, handlers }: Tools): Sockets {
  const { ctx, hub } = api;
  const keys = new Map<string, Key>();
  const spokes = Array.from({ length: SPOKES }, () => new Set<Connection>());
  const reader = openAccountReader(ctx);
  const following: Following = { api, reader, feeds: openAccountFeeds(reader, hub) };
  const empty = Promise.withResolvers<void>();
  let joined = 0;
  let open = 0;

  const hall: Hall = {
    ctx,
    answer: (connection, said) => answer(following, connection, said),
    work: (work) => handlers.add(work),
    sent: (frames) => ctx.counts.framesSent(frames),
    left(connection, code) {
      ctx.counts.socketClosed(code);
      for (const spoke of spokes) spoke.delete(connection);
      const { keyId } = connection.caller;
      const key = keys.get(keyId);
      key?.connections.delete(connection);
      if (key?.connections.size === 0) keys.delete(keyId);
      open -= 1;
      if (open === 0 && api.closing.aborted) empty.resolve();
    },
  };

  let turn = 0;
  const wheel = setInterval(
    () => {
      for (const connection of spokes[turn] ?? []) connection.beat();
      turn = (turn + 1) % SPOKES;
      if (turn === 0) look();
    },
    Math.max(1, ctx.config.socketHeartbeatMs / SPOKES),
  );

  const lookNow = async (): Promise<void> => {
    if (keys.size === 0) return;
    for (const [keyId, caller] of await authenticator.callersOf([...keys.keys()])) {
      const key = keys.get(keyId);
      if (!key) continue;
      const refusal = caller instanceof AppError ? caller : caller.suspended;
      if (!(caller instanceof AppError)) key.caller = caller;
      if (!refusal) continue;
      const code = refusal.status === 401 ? CLOSE.unauthorized : CLOSE.forbidden;
      for (const connection of key.connections) connection.close(code, refusal.code);
    }
  };
  let looking: NodeJS.Timeout | null = null;
  /** Whoever was told of a key may have been told of many. What cannot be read now is read at the next beat. */
  const look = (): void => {
    looking ??= setTimeout(() => {
      looking = null;
      lookNow().catch((error: unknown) => ctx.log.warn({ err: error }, "sockets' keys were not looked at"));
    }, LOOK_EVERY_MS);
  };
  const unsubscribe = ctx.bus.subscribe(({ type }) => {
    if (type === 'catalogue' || type === 'missed') look();
  });

  return {
    assertRoom(keyId) {
      if (api.closing.aborted) throw new AppError('overloaded');
      if ((keys.get(keyId)?.connections.size ?? 0) >= CONNECTIONS_A_KEY)
        throw new AppError('too_many_connections', { details: { max: CONNECTIONS_A_KEY } });
    },
    join({ caller, ...rest }) {
      const key = keys.get(caller.keyId) ?? { caller, followed: 0, connections: new Set() };
      keys.set(caller.keyId, key);
      const connection = new Connection(hall, { ...rest, authority: key });
      key.connections.add(connection);
      spokes[joined++ % SPOKES]?.add(connection);
      open += 1;
      return connection;
    },
    gauges() {
      let subscriptions = 0;
      for (const { connections } of keys.values())
        for (const connection of connections) subscriptions += connection.subscriptions.size;
      return { open, subscriptions };
    },
    async close(withinMs) {
      clearInterval(wheel);
      if (looking) clearTimeout(looking);
      unsubscribe();
      const all = [...keys.values()].flatMap(({ connections }) => [...connections]);
      for (const connection of all) connection.drain();
      if (open > 0) await Promise.race([empty.promise, sleep(withinMs, undefined, { ref: false })]);
      for (const connection of all) connection.terminate();
    },
  };
}

/** What a connection is told that it may do. */
export const LIMITS_TOLD = { subscriptions: SUBSCRIPTIONS_MAX, connections: CONNECTIONS_A_KEY };
