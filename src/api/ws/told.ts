// What all subscriptions have to do with their connection.
import type { Context } from '../../context.ts';
import type { AccountFeeds } from '../../flow/account-feed.ts';
import type { AccountReader } from '../../flow/follow-account.ts';
import type { Api } from '../api.ts';
import { CLOSE } from './close-codes.ts';
import type { Connection } from './connection.ts';
import type { Wanted } from './frames.ts';
import type { Message } from './messages.ts';

export interface Following {
  api: Api;
  reader: AccountReader;
  feeds: AccountFeeds;
}

export type Order = Pick<Message<'subscribe'>, 'events' | 'deltas' | 'deltas_after'> & {
  /** Null: from now on. */
  after: bigint | null;
};

export interface Told {
  connection: Connection;
  name: string;
  wanted: Wanted;
}

export const caughtUpText = (name: string, cursor: bigint): string =>
  `{"type":"caught_up","subscription":"${name}","cursor":${cursor}}`;

/** The stream broke off for a fault of ours: the client comes back with its cursors. */
export function fail(ctx: Context, connection: Connection, error: unknown): void {
  if (!connection.isOpen) return;
  ctx.log.warn({ err: error, connection: connection.id }, 'a subscription broke off');
  connection.close(CLOSE.internal, 'internal');
}
