// A receiver of webhooks that is bad at it: the first times that an event comes it dies, hangs, refuses, redirects or
// talks without end, each event in its own way; then it takes it.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { Dice } from './dice.ts';

/** What it does instead of taking an event. `gone` ends an endpoint, so it is asked for by name only. */
export const BADNESS = {
  died: (response) => response.socket?.resetAndDestroy(),
  hangs: () => {},
  moved: (response) => response.writeHead(301, { location: 'http://127.0.0.1:1/elsewhere' }).end(),
  busy: (response) => response.writeHead(429, { 'retry-after': '1' }).end('later'),
  broken: (response) => response.writeHead(500).end('oh'),
  endless: (response) => {
    response.writeHead(200, { 'content-length': String(10 * 2 ** 30) });
    const piece = Buffer.alloc(64 * 1024, 'x');
    const pour = (): void => {
      while (!response.destroyed && response.write(piece));
      if (!response.destroyed) response.once('drain', pour);
    };
    pour();
  },
} as const satisfies Record<string, (response: ServerResponse) => unknown>;

export type Badness = keyof typeof BADNESS;

export interface Arrival {
  headers: Record<string, string>;
  body: string;
}

export interface BadReceiver {
  url: string;
  /** What it took, by webhook-id, however often. */
  taken: Map<string, Arrival[]>;
  /** How often it was bad, by kind. */
  bad: Record<Badness, number>;
  close(): Promise<void>;
}

/** @param share of the events that it is bad to. @param times how often, of each such event */
export async function startBadReceiver(
  dice: Dice,
  { share, times }: { share: number; times: number },
): Promise<BadReceiver> {
  const kinds = Object.keys(BADNESS) as Badness[];
  const taken = new Map<string, Arrival[]>();
  const fates = new Map<string, { kind: Badness; left: number } | null>();
  const bad = Object.fromEntries(kinds.map((kind) => [kind, 0])) as Record<Badness, number>;
  let ill = 0;
  const fateOf = (id: string): { kind: Badness; left: number } | null => {
    const known = fates.get(id);
    if (known !== undefined) return known;
    // In turn, so that each is met.
    const fate = dice.rolls(share) ? { kind: kinds[ill++ % kinds.length] as Badness, left: times } : null;
    fates.set(id, fate);
    return fate;
  };
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = (await buffer(request)).toString('utf8');
    const headers = request.headers as Record<string, string>;
    const id = headers['webhook-id'] ?? '';
    const fate = fateOf(id);
    if (fate && fate.left > 0) {
      fate.left -= 1;
      bad[fate.kind] += 1;
      BADNESS[fate.kind](response);
      // Ten gibibytes begin with a 200: whoever calls may take that for a yes.
      if (fate.kind !== 'endless') return;
    }
    taken.set(id, [...(taken.get(id) ?? []), { headers, body }]);
    if (!response.headersSent) response.writeHead(204).end();
  };
  const server = createServer((request, response) => {
    response.on('error', () => {});
    answer(request, response).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    taken,
    bad,
    async close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
