// An account's events as they happen, over as many sockets as that takes: every one once, in the order of their numbers.
import { MillraceError, type ErrorBody } from './errors.ts';
import type { MillraceEvent } from './events.ts';
import { backOff, pause } from './pause.ts';
import { type Closed, converse, type WebSocketClass } from './socket.ts';

export interface SubscribeOptions {
  /** Default: everything of the account. */
  jobs?: readonly string[] | 'all';
  /** The number of the last event heard; `start`: all that is kept; `now` (default): only new ones. */
  after?: number | 'now' | 'start';
  /** Which types, for example `job.*`. Default: all. */
  events?: readonly string[];
  signal?: AbortSignal;
  /** Instead of the key, for browsers: asked for a fresh ticket at every connection. */
  ticket?: () => Promise<string>;
}

/** An event, or `reset`: the cursor could not be served, and these are the open jobs as they are. */
export type Heard =
  | { type: 'event'; event: MillraceEvent }
  | { type: 'reset'; reason: string; jobs: Record<string, unknown>[] };

export interface Sockets {
  WebSocket: WebSocketClass;
  /** For example `wss://host/v1/ws`. */
  url: string;
  ticket(): Promise<string>;
  tries: number;
}

/** Closes for good: coming back would bring the same. */
const FINAL = new Set([4400, 4401, 4403]);

export async function* subscribe(sockets: Sockets, options: SubscribeOptions): AsyncGenerator<Heard> {
  const { jobs = 'all', events, signal } = options;
  const ticketOf = options.ticket ?? sockets.ticket;
  let after = options.after ?? 'now';
  for (let breaks = 0; ;) {
    let wait = backOff(breaks);
    try {
      const url = `${sockets.url}?ticket=${encodeURIComponent(await ticketOf())}`;
      const first = { type: 'subscribe', ref: '1', jobs, after, ...(events && { events }) };
      for await (const said of converse({ WebSocket: sockets.WebSocket, url, signal }, first)) {
        if (said.type === 'closing') wait = Number(said['reconnect_in_ms']) || wait;
        else if (said.type === 'error') throw new MillraceError(400, said['error'] as ErrorBody);
        // Where `now` was, for the next connection, if nothing happens on this one.
        else if (said.type === 'caught_up') [after, breaks] = [Number(said['cursor']), 0];
        else if (said.type === 'reset') {
          after = Number(said['cursor']);
          const { reason, jobs: open } = said as unknown as {
            reason: string;
            jobs: Record<string, unknown>[];
          };
          yield { type: 'reset', reason, jobs: open };
        } else if (said.type === 'event') {
          const event = said['event'] as MillraceEvent;
          after = event.sequence;
          breaks = 0;
          yield { type: 'event', event };
        }
      }
    } catch (error) {
      signal?.throwIfAborted();
      const final = error instanceof MillraceError ? !error.retryable : FINAL.has((error as Closed).code);
      breaks += 1;
      if (final || breaks > sockets.tries) throw error;
    }
    await pause(wait, signal);
  }
}
