// A WebSocket as a client's program has one: the `ws` package, and every message in the order it came.
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { WebSocket } from 'ws';
import type { Json } from './client.ts';

export interface TestSocket {
  ws: WebSocket;
  /** All that came, as texts, and parsed. */
  texts: string[];
  messages: Json[];
  /** Once it is closed: how. */
  closed: Promise<{ code: number; reason: string }>;
  say(message: unknown): void;
  /** The first message, from the start or behind `from`, of which this is true. Fails if the socket closes before. */
  until(is: (message: Json) => boolean, from?: number): Promise<Json>;
  /** Says it under a ref of its own and answers the reply. */
  ask(message: Record<string, unknown>): Promise<Json>;
  close(): Promise<void>;
}

/** The connection below, to do on it what the library would not. */
export function tcpOf({ ws }: Pick<TestSocket, 'ws'>): Socket {
  return (ws as unknown as { _socket: Socket })._socket; // oxlint-disable-line no-underscore-dangle -- ws has no other name for it
}

export interface Refused {
  status: number;
  headers: Record<string, string>;
  body: Json;
}

const urlOf = (url: string): string => `${url.replace(/^http/, 'ws')}/v1/ws`;

interface Opening {
  key?: string;
  ticket?: string;
  origin?: string;
  protocols?: string[];
  headers?: Record<string, string>;
}

function dial(
  url: string,
  { key, ticket, origin, protocols = ['millrace.v1'], headers = {} }: Opening,
): WebSocket {
  const query = ticket === undefined ? '' : `?ticket=${ticket}`;
  return new WebSocket(urlOf(url) + query, protocols, {
    headers: { ...(key === undefined ? {} : { authorization: `Bearer ${key}` }), ...headers },
    ...(origin === undefined ? {} : { origin }),
    perMessageDeflate: true,
  });
}

/** Throws if it is refused. */
export async function openSocket(url: string, opening: Opening): Promise<TestSocket> {
  const ws = dial(url, opening);
  const texts: string[] = [];
  const messages: Json[] = [];
  const waiting = new Set<() => void>();
  let refs = 0;
  const closed = once(ws, 'close').then(([code, reason]) => {
    for (const look of waiting) look();
    return { code: code as number, reason: String(reason) };
  });
  closed.catch(() => {});
  ws.on('message', (data, isBinary) => {
    if (isBinary) throw new Error('a binary frame');
    texts.push(String(data));
    messages.push(JSON.parse(String(data)));
    for (const look of waiting) look();
  });
  await once(ws, 'open');
  ws.on('error', () => {});
  const until: TestSocket['until'] = (is, from = 0) =>
    new Promise((resolve, reject) => {
      let at = from;
      const look = (): void => {
        for (; at < messages.length; at++) {
          if (!is(messages[at])) continue;
          waiting.delete(look);
          return resolve(messages[at]);
        }
        if (ws.readyState !== WebSocket.CLOSED) return;
        waiting.delete(look);
        reject(new Error(`closed before it came: ${texts.slice(-5).join(' ').slice(0, 1_000)}`));
      };
      waiting.add(look);
      look();
    });
  const say: TestSocket['say'] = (message) =>
    ws.send(typeof message === 'string' || Buffer.isBuffer(message) ? message : JSON.stringify(message));
  return {
    ws,
    texts,
    messages,
    closed,
    say,
    until,
    ask(message) {
      const ref = String(message['ref'] ?? `r${(refs += 1)}`);
      const from = messages.length;
      say({ ref, ...message });
      return until((answer) => answer.ref === ref, from);
    },
    async close() {
      ws.close();
      await closed;
    },
  };
}

/** What an opening is answered that is not accepted. */
export async function refusedSocket(url: string, opening: Opening): Promise<Refused> {
  const ws = dial(url, opening);
  ws.on('error', () => {});
  ws.on('open', () => ws.terminate());
  const [, response] = await once(ws, 'unexpected-response');
  let text = '';
  for await (const chunk of response) text += String(chunk);
  return { status: response.statusCode, headers: response.headers, body: JSON.parse(text) };
}
