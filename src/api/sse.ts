// Server-sent events (contract 13) over Node's own response, since the stream's pace is the reader's.
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Cursor, parseCursor, START } from '../domain/cursor.ts';
import { AppError, invalidRequest } from '../domain/errors.ts';
import type { Batch, Frame } from '../flow/frame.ts';

const STREAMS_A_KEY = 100;
/** What a stream that ends still has to send has so long to leave. */
const LAST_WORDS_MS = 2_000;
const open = new Map<string, number>();

/** Where the reader wants to go on: `Last-Event-ID`, which browsers send by themselves, or `?after=`; null: from now. */
export function cursorOf(request: FastifyRequest, { orNow = false } = {}): Cursor | null {
  const header = request.headers['last-event-id'];
  const { after } = request.query as { after?: string };
  const text = typeof header === 'string' && header !== '' ? header : after;
  if (text === undefined || text === 'start') return START;
  if (orNow && text === 'now') return null;
  const cursor = parseCursor(text);
  if (cursor) return cursor;
  throw invalidRequest({
    path: text === after ? 'after' : 'Last-Event-ID',
    message: 'must be an id that a stream gave',
    expected: '1042 or 1041.2.312',
    received: 'a text',
  });
}

export interface Stream {
  frames(signal: AbortSignal): AsyncIterable<Batch>;
  /** Aborted when the process drains. */
  closing: AbortSignal;
  heartbeatMs: number;
  /** Asked at every heartbeat. @throws AppError if the key is no longer good */
  authenticate(request: FastifyRequest): Promise<void>;
}

/**
 * Sends frames until they end, the reader goes, its key does, or the process drains. A reader that is slow holds up only
 * itself: nothing is taken before the last batch has left.
 */
export async function sendEvents(
  request: FastifyRequest,
  reply: FastifyReply,
  stream: Stream,
): Promise<FastifyReply> {
  const { keyId } = request.caller;
  const count = open.get(keyId) ?? 0;
  if (count >= STREAMS_A_KEY) throw new AppError('too_many_connections', { details: { max: STREAMS_A_KEY } });
  open.set(keyId, count + 1);
  reply.hijack();
  const { raw } = reply;
  const gone = new AbortController();
  const leave = (): void => gone.abort();
  raw.once('close', leave);
  // Whoever went before we got here has made no sound since.
  if (raw.destroyed || raw.closed) leave();
  const signal = AbortSignal.any([gone.signal, stream.closing]);
  const heartbeat = setInterval(() => {
    // To a reader that has not taken the last one, silence says as much.
    if (!raw.writableNeedDrain) raw.write(': hb\n\n');
    stream.authenticate(request).catch((error: unknown) => {
      // A key that asks too much otherwise is still good.
      if (error instanceof AppError && error.code !== 'rate_limited') leave();
    });
  }, stream.heartbeatMs);
  try {
    raw.writeHead(200, {
      ...(reply.getHeaders() as Record<string, string>),
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
      connection: 'close',
    });
    raw.write('retry: 1000\n\n');
    for await (const batch of stream.frames(signal)) {
      if (signal.aborted) break;
      if (!raw.write(encoded(batch))) await once(raw, 'drain', { signal });
    }
  } catch (error) {
    // The head has been sent, so there is nobody to tell but the log; the reader comes back with its cursor.
    if (!signal.aborted) request.log.warn({ err: error, request: request.id }, 'a stream broke off');
  } finally {
    clearInterval(heartbeat);
    raw.off('close', leave);
    release(keyId);
    end(raw);
  }
  return reply;
}

function release(keyId: string): void {
  const left = (open.get(keyId) ?? 1) - 1;
  if (left > 0) open.set(keyId, left);
  else open.delete(keyId);
}

/** A reader that takes nothing must not keep the connection, and with it the process. */
function end(raw: ServerResponse): void {
  raw.end();
  if (raw.closed) return;
  const timer = setTimeout(() => raw.destroy(), LAST_WORDS_MS);
  raw.once('close', () => clearTimeout(timer));
}

/** Readers of one account share their batches: each is written out once. */
const known = new WeakMap<Batch, Buffer>();

function encoded(batch: Batch): Buffer {
  let bytes = known.get(batch);
  if (!bytes) {
    bytes = Buffer.from(batch.map(encode).join(''));
    known.set(batch, bytes);
  }
  return bytes;
}

/** A vendor's JSON may be pretty-printed; each of its lines is a data line, and the reader joins them again. */
function encode({ id, event, data }: Frame): string {
  const lines = /[\r\n]/.test(data) ? data.replaceAll(/\r\n?|\n/g, '\ndata: ') : data;
  return `${id === null ? '' : `id: ${id}\n`}event: ${event}\ndata: ${lines}\n\n`;
}
