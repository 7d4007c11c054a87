// A receiver of webhooks, as bad as one may be: a real HTTP server that answers each path as it was told to.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';
import { eventually } from './eventually.ts';

export interface Received {
  path: string;
  id: string;
  headers: Record<string, string>;
  body: string;
  event: { id: string; type: string; sequence: number; data: Record<string, unknown> };
  at: number;
}

export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

export interface Receiver {
  url(path?: string): string;
  port: number;
  received: Received[];
  /** What came to a path. */
  at(path: string): Received[];
  /** How a path answers from now on; 200 without being told. */
  answers(path: string, answer: Answer | number): void;
  /** Calls of a path that are not answered yet, and the most there ever were at once. */
  open(path: string): { now: number; most: number };
  until(what: string, condition: () => boolean, withinMs?: number): Promise<void>;
  close(): Promise<void>;
}

export const ANSWERS = {
  hang: () => {},
  reset: ({ socket }) => void socket.resetAndDestroy(),
  die: ({ socket }) => void socket.destroy(),
  /** 10 GiB, or as much of it as anybody reads. */
  endless: (_, response) => {
    response.writeHead(200, { 'content-length': String(10 * 1024 ** 3) });
    const chunk = Buffer.alloc(64 * 1024, 'x');
    const more = (): void => {
      while (!response.destroyed && response.write(chunk));
      if (!response.destroyed) response.once('drain', more);
    };
    more();
  },
  trickle: (_, response) => {
    response.writeHead(200, { 'content-length': '1000' });
    const timer = setInterval(() => response.write('x'), 1_000);
    response.once('close', () => clearInterval(timer));
  },
} satisfies Record<string, Answer>;

export async function startReceiver(): Promise<Receiver> {
  const received: Received[] = [];
  const told = new Map<string, Answer>();
  const open = new Map<string, { now: number; most: number }>();
  const server = createServer((request, response) => {
    const path = request.url ?? '';
    const calls = open.get(path) ?? { now: 0, most: 0 };
    open.set(path, calls);
    calls.now += 1;
    calls.most = Math.max(calls.most, calls.now);
    response.once('close', () => (calls.now -= 1));
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString();
      const headers = request.headers as Record<string, string>;
      received.push({
        path,
        id: headers['webhook-id'] ?? '',
        headers,
        body,
        event: JSON.parse(body) as Received['event'],
        at: performance.now(),
      });
      const answer = told.get(path);
      if (answer) answer(request, response);
      else response.end('thank you');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: (path = '/') => `http://127.0.0.1:${port}${path}`,
    port,
    received,
    at: (path) => received.filter((one) => one.path === path),
    answers: (path, answer) =>
      void told.set(
        path,
        typeof answer === 'number'
          ? (_, response) => response.writeHead(answer).end(`no: ${answer}`)
          : answer,
      ),
    open: (path) => open.get(path) ?? { now: 0, most: 0 },
    until: async (what, condition, withinMs = 30_000) => {
      await eventually(condition, { what, withinMs, everyMs: 10 });
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** By the reference library. @throws WebhookVerificationError */
export const verify = (secret: string, { body, headers }: Pick<Received, 'body' | 'headers'>): unknown =>
  new Webhook(secret).verify(body, headers);
