// A TCP proxy that does to connections what networks do: cuts them anywhere, delays, throttles, swallows. It knows nothing of
// what it carries.
import { once } from 'node:events';
import { createServer, type AddressInfo, connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { randomFrom } from '../../src/providers/sim/draw/random.ts';

/** May be changed while connections are open; each byte meets what holds when it passes. */
export interface Trouble {
  /** A connection is cut once so many bytes have gone to the client: drawn anew for each, evenly, from `[least, most]`. */
  cutAfter?: readonly [number, number];
  /** How late each piece comes, in either direction. */
  delayMs?: number;
  /** Bytes a second to the client, for each connection. */
  bytesPerSecond?: number;
  /** Connections are taken and nothing passes; what is sent waits, as for a cable that is out. */
  blackHole?: boolean;
  /** New connections are ended at once. */
  refuse?: boolean;
}

export interface TcpProxy {
  port: number;
  seed: number;
  /** How many connections were cut (by `cutAfter` or `cutAll`), and how many are open. */
  readonly cuts: number;
  readonly open: number;
  /** The same URL, through the proxy. */
  through(url: string): string;
  /** Instead of what held before. */
  trouble(trouble: Trouble): void;
  /** Cuts what is open; answers how many those were. */
  cutAll(): number;
  close(): Promise<void>;
}

const PIECE_BYTES = 1024;
const LOOK_MS = 10;

interface Link {
  client: Socket;
  server: Socket;
  /** Bytes until it is cut. */
  left: number;
}

/** @param target a URL, of which host and port are used. @param seed printed; the same one draws the same numbers */
export async function startTcpProxy(
  target: string,
  { seed = Math.floor(Math.random() * 2 ** 32), trouble = {} }: { seed?: number; trouble?: Trouble } = {},
): Promise<TcpProxy> {
  const { hostname: host, port } = new URL(target);
  console.log(`tcp-proxy to port ${port}: seed ${seed}`);
  const random = randomFrom(seed);
  const links = new Set<Link>();
  let now = trouble;
  let cuts = 0;

  const cut = (link: Link): void => {
    if (!links.delete(link)) return;
    cuts += 1;
    // Networks end connections in both ways: with a word, and without one.
    if (random() < 0.5) link.client.resetAndDestroy();
    else link.client.destroy();
    link.server.destroy();
  };

  const draw = (): number => {
    const [least, most] = now.cutAfter ?? [Infinity, Infinity];
    return least === Infinity ? Infinity : least + Math.floor(random() * (most - least + 1));
  };

  const pass = async (link: Link, bytes: Buffer, to: 'client' | 'server'): Promise<void> => {
    if (now.delayMs) await sleep(now.delayMs);
    while (now.blackHole && links.has(link)) await sleep(LOOK_MS);
    if (to === 'server') return write(link.server, bytes);
    const rate = now.bytesPerSecond ?? Infinity;
    for (let at = 0; at < bytes.length && links.has(link);) {
      const size = Math.min(rate === Infinity ? bytes.length : PIECE_BYTES, link.left, bytes.length - at);
      await write(link.client, bytes.subarray(at, at + size));
      at += size;
      link.left -= size;
      if (link.left === 0) return cut(link);
      if (rate !== Infinity) await sleep((size / rate) * 1000);
    }
  };

  const carry = async (link: Link, to: 'client' | 'server'): Promise<void> => {
    const [from, into] = to === 'client' ? [link.server, link.client] : [link.client, link.server];
    try {
      for await (const bytes of from) await pass(link, bytes as Buffer, to);
      into.end();
    } catch {
      // One side is gone, so the other goes too.
      links.delete(link);
      into.destroy();
    }
  };

  const listener = createServer({ allowHalfOpen: true }, (client) => {
    if (now.refuse) return void client.resetAndDestroy();
    const server = connect({ host, port: Number(port), allowHalfOpen: true });
    const link: Link = { client, server, left: draw() };
    links.add(link);
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      socket.on('error', () => {});
    }
    client.once('close', () => links.delete(link));
    void carry(link, 'server');
    void carry(link, 'client');
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const own = (listener.address() as AddressInfo).port;

  return {
    port: own,
    seed,
    get cuts() {
      return cuts;
    },
    get open() {
      return links.size;
    },
    through(url) {
      const other = new URL(url);
      other.hostname = '127.0.0.1';
      other.port = String(own);
      return other.toString().replace(/\/$/, '');
    },
    trouble(trouble) {
      now = trouble;
    },
    cutAll() {
      const open = [...links];
      for (const link of open) cut(link);
      return open.length;
    },
    async close() {
      for (const { client, server } of links) {
        client.destroy();
        server.destroy();
      }
      links.clear();
      listener.close();
      await once(listener, 'close');
    },
  };
}

async function write(socket: Socket, bytes: Buffer): Promise<void> {
  if (!socket.write(bytes)) await Promise.race([once(socket, 'drain'), once(socket, 'close')]);
}
