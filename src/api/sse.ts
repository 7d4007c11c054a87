// Server-sent events (contract 13) over Node's own response, since the stream's pace is the reader's.
import { once } from 'node:events';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { AppError, invalidRequest } from '../domain/errors.ts';
import { type Cursor, type Frame, parseCursor, START } from '../flow/follow.ts';

const HEARTBEAT_MS = 15_000;
const STREAMS_A_KEY = 100;
const open = new Map<string, number>();

/** Where the reader wants to go on: `Last-Event-ID`, which browsers send by themselves, or `?after=`. */
export function cursorOf(request: FastifyRequest): Cursor {
  const header = request.headers['last-event-id'];
  const { after } = request.query as { after?: string };
  const text = typeof header === 'string' && header !== '' ? header : after;
  if (text === undefined || text === 'start') return START;
  const cursor = parseCursor(text);
  if (cursor) return cursor;
  throw invalidRequest({
    path: text === after ? 'after' : 'Last-Event-ID',
    message: 'must be an id that a stream gave',
    expected: '1042 or 1041.2.312',
    received: 'a text',
  });
}

/**
 * Sends frames until they end, the reader goes, or the process drains. A reader that is slow holds up only itself: no
 * frame is taken before the last one has left.
 */
export async function sendEvents(
  request: FastifyRequest,
  reply: FastifyReply,
  { frames, closing }: { frames: (signal: AbortSignal) => AsyncIterable<Frame>; closing: AbortSignal },
): Promise<FastifyReply> {
  const { keyId } = request.caller;
  const count = open.get(keyId) ?? 0;
  if (count >= STREAMS_A_KEY) throw new AppError('too_many_connections', { details: { max: STREAMS_A_KEY } });
  open.set(keyId, count + 1);
  const gone = new AbortController();
  const raw = reply.raw;
  raw.once('close', () => gone.abort());
  const signal = AbortSignal.any([gone.signal, closing]);
  reply.hijack();
  raw.writeHead(200, {
    ...(reply.getHeaders() as Record<string, string>),
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache, no-transform',
    'x-accel-buffering': 'no',
    connection: 'keep-alive',
  });
  const heartbeat = setInterval(() => raw.write(': hb\n\n'), HEARTBEAT_MS);
  try {
    raw.write('retry: 1000\n\n');
    for await (const frame of frames(signal)) {
      if (!raw.write(encode(frame))) await once(raw, 'drain', { signal: gone.signal });
      if (gone.signal.aborted) break;
    }
  } catch (error) {
    // The head has been sent, so there is nobody to tell but the log; the reader comes back with its cursor.
    if (!gone.signal.aborted) request.log.warn({ err: error, request: request.id }, 'a stream broke off');
  } finally {
    clearInterval(heartbeat);
    release(keyId);
    raw.end();
  }
  return reply;
}

function release(keyId: string): void {
  const left = (open.get(keyId) ?? 1) - 1;
  if (left > 0) open.set(keyId, left);
  else open.delete(keyId);
}

/** A vendor's JSON may be pretty-printed; each of its lines is a data line, and the reader joins them again. */
function encode({ id, event, data }: Frame): string {
  const lines = data.replaceAll(/\r\n?|\n/g, '\ndata: ');
  return `${id === null ? '' : `id: ${id}\n`}event: ${event}\ndata: ${lines}\n\n`;
}
