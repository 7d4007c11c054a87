// An account's events as they happen, over as many sockets as that takes: every one once, in the order of their numbers.
import { MillraceError, type ErrorBody } from './errors.ts';
import { type MillraceEvent, TERMINAL } from './events.ts';
import { backOff, lasted, orAborted, pause } from './pause.ts';
import { type Closed, converse, type Said, type WebSocketClass } from './socket.ts';

export interface SubscribeOptions {
  /** Default: everything of the account. */
  jobs?: readonly string[] | 'all';
  /** The number of the last event heard; `start`: all that is kept; `now` (default): only new ones. */
  after?: number | 'now' | 'start';
  /** Which types, for example `job.*`. Default: all. */
  events?: readonly string[];
  /** Also what chats say, as they say it. For named jobs only. */
  deltas?: boolean;
  signal?: AbortSignal;
  /** Instead of the key, for browsers: asked for a fresh ticket at every connection. */
  ticket?: (signal?: AbortSignal) => Promise<string>;
}

export type Heard =
  | { type: 'event'; event: MillraceEvent }
  /** The cursor could not be served: these are the open jobs as they are, and it goes on from there. */
  | { type: 'reset'; reason: string; jobs: Record<string, unknown>[] }
  /** `offset` counts the deltas of an attempt from 0. */
  | { type: 'delta'; job_id: string; attempt: number; offset: number; delta: Record<string, unknown> }
  /** The attempt is followed by another: what it said is taken back. */
  | { type: 'delta_reset'; job_id: string; attempt: number };

export interface Sockets {
  WebSocket: WebSocketClass;
  /** For example `wss://host/v1/ws`. */
  url: string;
  ticket(signal?: AbortSignal): Promise<string>;
  tries: number;
  quietMs?: number;
}

/** Closes for good: coming back would bring the same. */
const FINAL = new Set([4400, 4401, 4403]);

export async function* subscribe(sockets: Sockets, options: SubscribeOptions): AsyncGenerator<Heard> {
  const { jobs = 'all', events, deltas = false, signal } = options;
  const { WebSocket, quietMs } = sockets;
  const ticketOf = options.ticket ?? sockets.ticket;
  const place = new Place(options.after ?? 'now');
  for (let breaks = 0; ;) {
    let wait = backOff(breaks);
    const since = performance.now();
    try {
      const ticket = await orAborted(ticketOf(signal), signal);
      const url = `${sockets.url}?ticket=${encodeURIComponent(ticket)}`;
      const filter = { ...(events && { events }), ...(deltas && { deltas, deltas_after: place.deltas() }) };
      const first = { type: 'subscribe', ref: '1', jobs, after: place.after, ...filter };
      for await (const said of converse({ WebSocket, url, signal, quietMs }, first)) {
        if (said.type === 'closing') wait = Number(said['reconnect_in_ms']) || wait;
        if (said.type === 'error') throw new MillraceError(400, said['error'] as ErrorBody);
        if (place.hear(said)) breaks = 0;
        const heard = HEARD.has(said.type) ? (said as unknown as Heard) : null;
        if (heard) yield heard;
      }
    } catch (error) {
      signal?.throwIfAborted();
      const final = error instanceof MillraceError ? !error.retryable : FINAL.has((error as Closed).code);
      breaks = lasted(since) ? 1 : breaks + 1;
      if (final || breaks > sockets.tries) throw error;
    }
    await pause(wait, signal);
  }
}

const HEARD: ReadonlySet<string> = new Set(['event', 'reset', 'delta', 'delta_reset']);

/** How far one has heard, for the next connection to go on from. */
class Place {
  after: number | 'now' | 'start';
  /** The last delta heard, of chats that still talk. */
  readonly #said = new Map<string, { attempt: number; offset: number }>();

  constructor(after: number | 'now' | 'start') {
    this.after = after;
  }

  deltas(): Record<string, { attempt: number; offset: number }> {
    return Object.fromEntries(this.#said);
  }

  /** True: something was heard that need not be heard again. */
  hear(said: Said): boolean {
    switch (said.type) {
      case 'event': {
        const { sequence, type, data } = said['event'] as MillraceEvent;
        this.after = sequence;
        if (TERMINAL.has(type)) this.#said.delete(String(data['id']));
        return true;
      }
      // Where `now` was; and later how far it has come past what was not asked for.
      case 'caught_up':
        this.after = Number(said['cursor']);
        return false;
      case 'reset':
        this.after = Number(said['cursor']);
        return true;
      case 'delta': {
        const { job_id: job, attempt, offset } = said as unknown as Heard & { type: 'delta' };
        this.#said.set(job, { attempt, offset });
        return true;
      }
      case 'delta_reset':
        this.#said.delete(String(said['job_id']));
        return true;
      default:
        return false;
    }
  }
}
