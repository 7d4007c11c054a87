// The client against peers that are not what they should be: silent, deaf, in disorder. Real sockets, and servers as bad as that.
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { type WebSocket as Peer, WebSocketServer } from 'ws';
import { createClient } from '../../packages/client/src/index.ts';
import type { WebSocketClass } from '../../packages/client/src/socket.ts';
import { readMessages } from '../../packages/client/src/sse.ts';
import { type Sockets, subscribe } from '../../packages/client/src/subscribe.ts';
import { eventually } from '../support/eventually.ts';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  closing.push(() => (server.closeAllConnections(), server.close()));
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A WebSocket server that does as it is told with each peer. */
async function sockets(serve: (peer: Peer, n: number) => void): Promise<Sockets & { opened(): number }> {
  let opened = 0;
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => 'millrace.v1' });
  server.on('connection', (peer) => serve(peer, (opened += 1)));
  closing.push(() => {
    for (const peer of server.clients) peer.terminate();
    server.close();
  });
  await once(server, 'listening');
  return {
    WebSocket: globalThis.WebSocket as unknown as WebSocketClass,
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ticket: async () => 'tkt',
    tries: 3,
    opened: () => opened,
  };
}

const CAUGHT_UP = '{"type":"caught_up","subscription":"s1","cursor":7}';
/** Aborts a subscription, and answers how it ended. */
async function aborted(waiting: Promise<unknown>, stop: AbortController): Promise<unknown> {
  stop.abort(new Error('enough'));
  return waiting.catch((error: Error) => error.message);
}

describe('subscribe', () => {
  it('keeps a socket on which nothing happens, and leaves one whose other end has gone', async () => {
    let pings = 0;
    let deaf = false;
    const from: unknown[] = [];
    const server = await sockets((peer) =>
      peer.on('message', (data) => {
        const said = JSON.parse(String(data));
        if (said.type === 'subscribe') {
          from.push(said.after);
          peer.send(CAUGHT_UP);
        } else if (said.type === 'ping' && !deaf) {
          pings += 1;
          peer.send(`{"type":"pong","ref":"${said.ref}"}`);
        }
      }),
    );
    const stop = new AbortController();
    const listening = subscribe({ ...server, quietMs: 100 }, { signal: stop.signal }).next();
    await eventually(() => pings >= 8, { what: 'it asked for signs of life', withinMs: 10_000 });
    expect(server.opened()).toBe(1);
    deaf = true;
    await eventually(() => from.length > 1, { what: 'it came again', withinMs: 10_000 });
    expect(from.slice(0, 2)).toEqual(['now', 7]);
    expect(await aborted(listening, stop)).toBe('enough');
  });

  it('gives up on a platform that lets it in and throws it out again, time after time', async () => {
    const server = await sockets((peer) => {
      peer.send(CAUGHT_UP);
      peer.close(1013);
    });
    await expect(subscribe(server, {}).next()).rejects.toMatchObject({ name: 'Closed', code: 1013 });
    expect(server.opened()).toBe(4);
  }, 20_000);

  it('takes what is no JSON for the end of the socket', async () => {
    const server = await sockets((peer) => peer.send('<html>'));
    await expect(subscribe({ ...server, tries: 0 }, {}).next()).rejects.toMatchObject({ code: 1007 });
  });

  it('ends at the signal, whatever it waits for: a ticket, an opening, a word, a goodbye', async () => {
    const stops = [0, 1, 2].map(() => new AbortController());
    const [first, second, third] = stops as [AbortController, AbortController, AbortController];
    const held: Socket[] = [];
    const mute = createTcpServer((socket) => void held.push(socket)).listen(0, '127.0.0.1');
    closing.push(() => (held.forEach((socket) => socket.destroy()), mute.close()));
    await once(mute, 'listening');
    const url = `ws://127.0.0.1:${(mute.address() as AddressInfo).port}`;
    // Nor does it answer a close.
    let open = 0;
    const server = await sockets((peer) => peer.once('message', () => (peer.pause(), (open += 1))));

    const never = subscribe({ ...server, ticket: () => new Promise(() => {}) }, { signal: first.signal });
    const unopened = subscribe({ ...server, url }, { signal: second.signal });
    const unanswered = subscribe(server, { signal: third.signal });
    const waiting = [never, unopened, unanswered].map((one) => one.next());
    for (const one of waiting) one.catch(() => {});
    await eventually(() => held.length === 1 && open === 1, { what: 'all wait', withinMs: 10_000 });
    const from = performance.now();
    for (const [i, stop] of stops.entries())
      expect(await aborted(waiting[i] as Promise<unknown>, stop)).toBe('enough');
    expect(performance.now() - from).toBeLessThan(1_000);
  });
});

describe('a request', () => {
  it('that may have been carried out is not repeated after a fault, unless a key makes it one', async () => {
    const asked: string[] = [];
    const baseUrl = await serve((request, response) => {
      asked.push(request.url ?? '');
      response.writeHead(500, {
        'content-type': 'application/json',
        'x-should-retry': 'true',
        'retry-after': '0',
      });
      response.end('{"code":"internal","retryable":true}');
    });
    const client = createClient({ baseUrl, apiKey: 'k', tries: 3 });
    const { response } = await client.api.POST('/v1/webhook-endpoints/{id}/rotate', {
      params: { path: { id: 'whe_1' } },
    });
    expect(response.status).toBe(500);
    // A second rotation would put the secret of the first, which nobody has seen, in the place of the old one.
    expect(asked).toHaveLength(1);
    await expect(client.submit({ model: 'sim/chat', input: {} })).rejects.toMatchObject({ status: 500 });
    expect(asked).toHaveLength(1 + 3);
  });
});

describe('a stream of events', () => {
  it('that says nothing any more, not even that it is there, is at its end', async () => {
    let gone = false;
    const url = await serve((request, response) => {
      response.once('close', () => (gone = true));
      response.write('retry: 1000\n\nid: 1\nevent: job.queued\ndata: {}\n\n');
    });
    const { body } = await fetch(url);
    const heard: string[] = [];
    for await (const { event } of readMessages(body as ReadableStream<Uint8Array>, 200)) heard.push(event);
    expect(heard).toEqual(['job.queued']);
    await eventually(() => gone, { what: 'the connection is let go of', withinMs: 5_000 });
  });
});
