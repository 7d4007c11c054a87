// One request on a connection of its own, up to the head of its answer.
import type { Readable } from 'node:stream';
import { Client } from 'undici';
import { dial } from './dial.ts';
import type { EgressRequest } from './egress.ts';
import type { Target } from './judge.ts';
import type { Resolve } from './resolve.ts';

const MOST_HEAD_BYTES = 16 * 1024;

export interface Exchange {
  status: number;
  /** A field that came twice is as it came first. */
  headers: Record<string, string | undefined>;
  /** As it travels: never decompressed. */
  body: Readable;
  /** Destroys the connection, if it still is one. */
  close(): void;
  /** Called once, when the connection is gone. */
  onClose(listener: () => void): void;
}

/** Rejects with what ended it before there was a head of an answer. */
export async function exchange(
  target: Target,
  { method, headers, body, resolve, signal }: EgressRequest & { resolve: Resolve; signal: AbortSignal },
): Promise<Exchange> {
  const socket = await dial(target, { resolve, signal });
  let given = false;
  const client = new Client(target.origin, {
    // It can have this connection, and no other, since no other was judged.
    connect: (_, callback) => {
      const fresh = !given && !socket.destroyed;
      given = true;
      // Not at once: what calls back before it has returned is waited for in vain.
      queueMicrotask(() => (fresh ? callback(null, socket) : callback(closed(), null)));
    },
    allowH2: false,
    pipelining: 1,
    maxHeaderSize: MOST_HEAD_BYTES,
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  const close = (): void => {
    socket.destroy();
    client.destroy().catch(() => {});
  };
  signal.addEventListener('abort', close);
  socket.once('close', () => signal.removeEventListener('abort', close));
  try {
    const answer = await client.request({
      method,
      path: target.path,
      headers: {
        'user-agent': 'Millrace/1',
        ...lowerCased(headers),
        'accept-encoding': 'identity',
        connection: 'close',
      },
      body: body ?? null,
    });
    // Its errors are told to whoever reads it.
    answer.body.on('error', () => {});
    return {
      status: answer.statusCode,
      headers: single(answer.headers),
      body: answer.body,
      close,
      onClose: (listener) => void (socket.closed ? listener() : socket.once('close', listener)),
    };
  } catch (error) {
    close();
    throw error;
  }
}

const closed = (): Error => Object.assign(new Error('closed'), { code: 'ECONNRESET' });

function lowerCased(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

function single(headers: Record<string, string | string[] | undefined>): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value[0] : value]),
  );
}
