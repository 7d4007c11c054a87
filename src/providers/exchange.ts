// One HTTP request and what came of it. Told apart with care, since money hangs on it: whether the request may have left,
// whether an answer began, and what ended it.
import type { IncomingHttpHeaders } from 'node:http';
import { Readable } from 'node:stream';
import { Agent, type Dispatcher } from 'undici';
import { crashPointSoon } from '../crash.ts';
import type { Evidence } from './provider.ts';

/** An answer's body is kept to this size when its status is no success: enough for an error's words. */
const MOST_ERROR_BYTES = 64 << 10;
/** How long a stream that has said its last word may leave its connection open, in ms. */
const LINGER_MS = 250;

export interface Request {
  method: 'GET' | 'POST' | 'DELETE';
  /** Scheme, host and port; and path with query. */
  origin: string;
  path: string;
  /** Name, value, name, value. */
  headers: string[];
  body: string | Buffer | Readable | null;
  signal: AbortSignal;
  /** Most ms from here to the end of the answer, and most ms without a byte of it (0: no such limit). */
  totalMs: number;
  idleMs: number;
  /** Most bytes of an answer's body. */
  maxBytes: number;
  /** Called with the head of a success: where its body goes. Null or absent: the body is collected. */
  sink?(head: Head): Sink | null;
}

export interface Head {
  status: number;
  headers: IncomingHttpHeaders;
}

export interface Sink {
  /** `more`: go on. `whole`: nothing of worth will follow. `enough`: it is no use; the socket is destroyed. */
  push(chunk: Buffer): 'more' | 'whole' | 'enough';
}

export interface Ended {
  /**
   * - `done`: the answer is complete, or its sink had enough.
   * - `lost`: the connection failed, before or after `head`.
   * - `timeout`: a limit passed. `too_large`: more than `maxBytes`.
   * - `stopped`: the signal.
   */
  how: 'done' | 'lost' | 'timeout' | 'too_large' | 'stopped';
  /** Whether any byte of the request may have left. */
  sent: boolean;
  head: Head | null;
  /** What came of the body, if no sink took it. */
  body: Buffer;
  /** Ms from the dispatch to the head of the answer. */
  firstByteMs: number | null;
  /** The connection's error, as a code such as ECONNREFUSED. */
  fault: string | null;
}

/** HTTP/1.1, one request a connection at a time, so that destroying a socket stops one call and no other. */
export function openAgent(): Agent {
  return new Agent({
    pipelining: 1,
    allowH2: false,
    connectTimeout: 10_000,
    headersTimeout: 0,
    bodyTimeout: 0,
  });
}

/** Never rejects. After the signal the socket is destroyed before this resolves. */
export function exchange(agent: Agent, request: Request): Promise<Ended> {
  return new Promise((resolve) => new Exchange(request, resolve).start(agent));
}

class Exchange implements Dispatcher.DispatchHandler {
  readonly #request: Request;
  readonly #resolve: (ended: Ended) => void;
  readonly #began = performance.now();
  #controller: Dispatcher.DispatchController | null = null;
  #timer: NodeJS.Timeout | null = null;
  #settled = false;
  #sent = false;
  #head: Head | null = null;
  #firstByteMs: number | null = null;
  #sink: Sink | null = null;
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(request: Request, resolve: (ended: Ended) => void) {
    this.#request = request;
    this.#resolve = resolve;
  }

  start(agent: Agent): void {
    const { signal, method, origin, path, headers, body, totalMs, idleMs } = this.#request;
    if (signal.aborted) return this.#settle('stopped');
    signal.addEventListener('abort', this.#onAbort);
    this.#timer = setTimeout(() => this.#giveUp('timeout'), totalMs);
    try {
      agent.dispatch(
        { method, origin, path, headers, body, headersTimeout: idleMs, bodyTimeout: idleMs },
        this,
      );
    } catch (error) {
      this.onResponseError(null, error as Error);
    }
  }

  readonly #onAbort = (): void => this.#giveUp('stopped');

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // Ended while it waited for its connection: nothing may be written now.
    if (this.#settled) return controller.abort(new Error('ended'));
    this.#controller = controller;
    this.#sent = true;
    // By then its bytes have been written; polls and look-ups are not meant.
    if (this.#request.method === 'POST') crashPointSoon('provider-sent');
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (this.#settled || status < 200) return;
    this.#head = { status, headers };
    this.#firstByteMs = Math.round(performance.now() - this.#began);
    if (status < 300) this.#sink = this.#request.sink?.(this.#head) ?? null;
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#settled) return;
    this.#bytes += chunk.length;
    if (this.#head!.status >= 300) return this.#takeErrorBody(chunk);
    if (this.#bytes > this.#request.maxBytes) return this.#giveUp('too_large');
    if (!this.#sink) return void this.#chunks.push(chunk);
    const verdict = this.#sink.push(chunk);
    if (verdict === 'enough') this.#giveUp('done');
    // The end of the body mostly lies in the same packet; a server that leaves it out is not waited for.
    if (verdict === 'whole') this.#limit(LINGER_MS, 'done');
  }

  onResponseEnd(): void {
    this.#settle('done');
  }

  onResponseError(_: Dispatcher.DispatchController | null, error: Error): void {
    const { code } = error as NodeJS.ErrnoException;
    const late = code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT';
    this.#settle(late ? 'timeout' : 'lost', code ?? error.name);
  }

  #takeErrorBody(chunk: Buffer): void {
    this.#chunks.push(chunk);
    if (this.#bytes > MOST_ERROR_BYTES) this.#giveUp('done');
  }

  #limit(ms: number, how: Ended['how']): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#giveUp(how), ms);
  }

  /** Ends the exchange from our side: the socket first, so that whoever waits for the result finds it destroyed. */
  #giveUp(how: Ended['how']): void {
    if (this.#settled) return;
    const controller = this.#controller;
    this.#settle(how);
    controller?.abort(new Error(how));
  }

  #settle(how: Ended['how'], fault: string | null = null): void {
    if (this.#settled) return;
    this.#settled = true;
    if (this.#timer) clearTimeout(this.#timer);
    this.#request.signal.removeEventListener('abort', this.#onAbort);
    if (this.#request.body instanceof Readable) this.#request.body.destroy();
    const body = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
    this.#resolve({ how, sent: this.#sent, head: this.#head, body, firstByteMs: this.#firstByteMs, fault });
  }
}

/** What the operator is told of an exchange. `note` must hold no prompt, output or key. */
export function evidenceOf({ sent, head, firstByteMs, fault }: Ended, note: string | null = null): Evidence {
  return {
    sent,
    http_status: head?.status ?? null,
    provider_request_id: requestId(head?.headers),
    first_byte_ms: firstByteMs,
    note: note ?? fault,
  };
}

function requestId(headers: IncomingHttpHeaders | undefined): string | null {
  const id = headers?.['x-request-id'] ?? headers?.['request-id'];
  return typeof id === 'string' && /^[\w.:-]{1,128}$/.test(id) ? id : null;
}

const targets = new Map<string, { origin: string; path: string }>();

/** A base URL taken apart; remembered, since it is the same for thousands of calls. Throws for what is no URL. */
export function targetOf(baseUrl: string): { origin: string; path: string } {
  const known = targets.get(baseUrl);
  if (known) return known;
  const { origin, pathname } = new URL(baseUrl);
  const target = { origin, path: pathname.replace(/\/+$/, '') };
  if (targets.size >= 1_000) targets.clear();
  targets.set(baseUrl, target);
  return target;
}
