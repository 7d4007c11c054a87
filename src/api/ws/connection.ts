// One WebSocket: what is said on it is read, answered and paced here. What the answers are is the business of requests.ts.
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import type { Context } from '../../context.ts';
import { type AppError, invalidRequest } from '../../domain/errors.ts';
import { newId } from '../../domain/ids.ts';
import { errorBody, noteRefusal, toAppError } from '../errors.ts';
import type { Caller } from '../auth.ts';
import type { TicketScope } from '../ticket-scope.ts';
import { CLOSE } from './close-codes.ts';
import { textFrames } from './frames.ts';
import { readMessage, type Said } from './messages.ts';
import { Outbox } from './outbox.ts';
import { Pace } from './pace.ts';

/** What the library closes a connection for, by its names; anything else is no WebSocket's frame. */
const FAULTS: Record<string, number> = { WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: 1009, WS_ERR_INVALID_UTF8: 1007 };
/** Of what nobody can read. */
const NONSENSE_MAX = 3;
/** So many requests may be unanswered, and so many bytes of answers unsent, before no more are read. */
const OPEN_MAX = 32;
const UNSENT_MAX_BYTES = 1024 * 1024;
/** A socket that is drained may still take its last words. */
const LAST_WORDS_MS = 2_000;
const RECONNECT_MS = [500, 5_000] as const;

/** Where all connections are. */
export interface Hall {
  ctx: Context;
  answer(connection: Connection, said: Said): Promise<void>;
  /** Work that a drain waits for. */
  work(work: Promise<unknown>): void;
  sent(frames: number): void;
  left(connection: Connection, code: number): void;
}

/** What connections are for, for all of one key: as it is now, and how many jobs they follow by name. */
export interface Authority {
  caller: Caller;
  followed: number;
}

export interface Subscription {
  stop(): void;
  /** At every beat of the heart. */
  beat?(): void;
}

export class Connection {
  readonly id: string;
  readonly authority: Authority;
  readonly ticket: TicketScope | undefined;
  readonly outbox: Outbox;
  readonly subscriptions = new Map<string, Subscription>();
  /** How many were ever opened: their names count up. */
  subscribed = 0;
  /** The code it was closed with by us; null: not by us. */
  closedWith: number | null = null;
  readonly #ws: WebSocket;
  readonly #hall: Hall;
  readonly #pace = new Pace();
  #open: Set<string> | null = null;
  #nonsense = 0;
  #unheard = 0;
  #draining = false;

  constructor(
    hall: Hall,
    {
      ws,
      socket,
      ...rest
    }: { ws: WebSocket; socket: Duplex; id: string; authority: Authority } & {
      ticket: TicketScope | undefined;
    },
  ) {
    this.#hall = hall;
    this.#ws = ws;
    this.id = rest.id;
    this.authority = rest.authority;
    this.ticket = rest.ticket;
    this.outbox = new Outbox(socket);
    ws.on('message', (data, isBinary) => this.#hear(data as Buffer, isBinary));
    ws.on('ping', (data) => {
      if (this.#count()) ws.pong(data);
    });
    ws.on('pong', () => this.#count());
    ws.on('error', (error: Error & { code?: string }) => {
      this.closedWith ??= FAULTS[error.code ?? ''] ?? 1002;
    });
    ws.on('close', (code) => {
      this.#stop();
      hall.left(this, this.closedWith ?? code);
    });
  }

  get caller() {
    return this.authority.caller;
  }

  get isOpen(): boolean {
    return this.#ws.readyState === this.#ws.OPEN;
  }

  /** In answer to what the client said. */
  answer(text: string): void {
    this.read(textFrames([text]), 1);
  }

  /** Frames that go at the reader's pace: who has more waits for outbox.drained(). */
  read(frames: Buffer, count: number): void {
    if (!this.isOpen) return;
    this.#hall.sent(count);
    const much = this.outbox.asked + frames.length > UNSENT_MAX_BYTES;
    this.outbox.answer(frames, much ? this.#repace : undefined);
    if (much) this.#repace();
  }

  /** Frames of what happened just now: a reader that has not taken too many of them is closed, and resumes by its cursor. */
  tell(frames: Buffer, count: number): void {
    if (!this.isOpen) return;
    if (!this.outbox.tell(frames)) return this.close(CLOSE.slow, 'slow reader');
    this.#hall.sent(count);
  }

  /** An error in answer to `ref`, after which the socket is as good as before. */
  refuse(error: unknown, { ref, what }: { ref: string | null; what: string }): void {
    const known = toAppError(error);
    const request = newId('req');
    noteRefusal(this.#hall.ctx, { request, method: 'WS', route: what }, known);
    const { path: _, ...body } = errorBody(known, { path: '', id: request });
    this.answer(JSON.stringify({ type: 'error', ref, error: body }));
  }

  close(code: number, reason: string): void {
    if (this.closedWith !== null) return;
    this.closedWith = code;
    this.#stop();
    this.#ws.close(code, reason);
    // To hear that it is closed on the other side, too.
    this.#ws.resume();
  }

  /** One beat of the heart: answers to the last two have not come, so nobody is there. */
  beat(): void {
    if (this.closedWith !== null) return;
    if (this.ticket && this.ticket.until <= performance.now())
      return this.close(CLOSE.unauthorized, 'ticket expired');
    // An answer may have come, and we do not listen at present.
    if (this.#ws.isPaused && this.outbox.asked <= UNSENT_MAX_BYTES) return;
    if (this.#unheard >= 2) return this.close(CLOSE.silent, 'no pong');
    this.#unheard += 1;
    this.#ws.ping();
    for (const subscription of this.subscriptions.values()) subscription.beat?.();
  }

  /** Answers what is open, says goodbye, closes. */
  drain(): void {
    this.#draining = true;
    if (!this.#open || this.#open.size === 0) this.#goodbye();
  }

  terminate(): void {
    this.#ws.terminate();
  }

  #goodbye(): void {
    if (this.closedWith !== null) return;
    const [least, most] = RECONNECT_MS;
    const reconnect_in_ms = Math.round(least + Math.random() * (most - least));
    this.answer(JSON.stringify({ type: 'closing', reason: 'drain', reconnect_in_ms }));
    this.close(CLOSE.drain, 'drain');
    setTimeout(() => this.#ws.terminate(), LAST_WORDS_MS).unref();
  }

  #stop(): void {
    for (const subscription of this.subscriptions.values()) subscription.stop();
    this.subscriptions.clear();
  }

  /** Counts what came against what may come in a second. */
  #count(): boolean {
    this.#unheard = 0;
    if (this.closedWith !== null || this.#draining) return false;
    if (this.#pace.take()) return true;
    this.close(CLOSE.tooMany, 'too many messages');
    return false;
  }

  /** Null: that was our fault, and is said. Nothing may be thrown at whoever emits what came. */
  #read(bytes: Buffer, isBinary: boolean): ReturnType<typeof readMessage> | null {
    try {
      return readMessage(bytes, isBinary);
    } catch (error) {
      this.refuse(error, { ref: null, what: 'unknown' });
      return null;
    }
  }

  #hear(bytes: Buffer, isBinary: boolean): void {
    if (!this.#count()) return;
    const said = this.#read(bytes, isBinary);
    if (!said) return;
    if ('refusal' in said) {
      this.refuse(said.refusal, { ref: said.ref, what: 'unknown' });
      if (said.unknown && ++this.#nonsense >= NONSENSE_MAX) this.close(CLOSE.nonsense, 'not understood');
      return;
    }
    const open = (this.#open ??= new Set());
    if (open.has(said.ref)) return this.refuse(taken(), { ref: null, what: said.type });
    open.add(said.ref);
    this.#hall.work(
      this.#hall
        .answer(this, said)
        .catch((error: unknown) => this.refuse(error, { ref: said.ref, what: said.type }))
        .finally(() => {
          open.delete(said.ref);
          this.#repace();
          if (this.#draining && open.size === 0) this.#goodbye();
        }),
    );
    this.#repace();
  }

  /** Reads no more while too much is unanswered or unsent, and reads again afterwards. */
  readonly #repace = (): void => {
    if (!this.isOpen) return;
    const full = (this.#open?.size ?? 0) >= OPEN_MAX || this.outbox.asked > UNSENT_MAX_BYTES;
    if (full === this.#ws.isPaused) return;
    if (full) this.#ws.pause();
    else this.#ws.resume();
    if (full) this.#pace.rest();
    else this.#pace.resume();
  };
}

const taken = (): AppError =>
  invalidRequest({
    path: 'ref',
    message: 'belongs to a request that is still open',
    expected: 'another one',
    received: 'one in use',
  });
