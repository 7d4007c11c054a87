// Where webhooks come in: a server of a few lines, as anybody has one. It believes nothing that is not signed.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { type MillraceEvent, SignatureError, verify } from '../packages/client/src/index.ts';

export interface Receiver {
  url: string;
  /** The secret that its endpoint was given; until then everything is refused. */
  believe(secret: string): void;
  /** The job's last event, if it comes in that time. */
  ended(jobId: string, withinMs: number): Promise<MillraceEvent | null>;
  /** How many came that were not rightly signed. */
  refused(): number;
  close(): Promise<void>;
}

/** @param host where the platform can reach it */
export async function openReceiver(host: string): Promise<Receiver> {
  const events = new Map<string, MillraceEvent>();
  const waiting = new Map<string, (event: MillraceEvent) => void>();
  let secret: string | null = null;
  let refused = 0;
  const server = createServer(async (request, response) => {
    try {
      const event = await verify(await buffer(request), request.headers, secret ?? '');
      const jobId = String(event.data['id']);
      events.set(jobId, event);
      waiting.get(jobId)?.(event);
      response.writeHead(204).end();
    } catch (error) {
      refused += 1;
      response.writeHead(error instanceof SignatureError ? 400 : 500).end();
    }
  });
  server.listen(0, host);
  await once(server, 'listening');
  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}/webhooks`,
    believe: (given) => void (secret = given),
    async ended(jobId, withinMs) {
      const arrived = new Promise<MillraceEvent>((resolve) => waiting.set(jobId, resolve));
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<null>((resolve) => (timer = setTimeout(resolve, withinMs, null)));
      const event = events.get(jobId) ?? (await Promise.race([arrived, late]));
      clearTimeout(timer);
      return event;
    },
    refused: () => refused,
    async close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
