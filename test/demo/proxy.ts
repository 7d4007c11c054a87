// A proxy before a platform that passes on what it hears, but for what it is told to make up or to cut off.
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { request } from 'undici';
import type { Json } from '../support/client.ts';

export interface Lie {
  /** `GET /v1/account`, for example: which answers it is about. */
  about: RegExp;
  /** Changes an answer of JSON, or answers null: 404. */
  tell?(body: Json): Json | null;
  /** Instead: breaks the connection after so many bytes of each answer. */
  cutAfter?: number;
}

export interface Proxy {
  url: string;
  /** How many answers were tampered with. */
  told(): number;
  close(): Promise<void>;
}

export async function openProxy(target: string, lie: Lie | null): Promise<Proxy> {
  let told = 0;
  const server: Server = createServer(async (asked, answer) => {
    const { host: _host, connection: _connection, ...headers } = asked.headers;
    const upstream = await request(target + asked.url, {
      method: asked.method as 'GET',
      headers: headers as Record<string, string>,
      body: asked.method === 'POST' ? asked : null,
    });
    const lying = lie?.about.test(`${asked.method} ${asked.url}`) ? lie : null;
    const { 'content-length': _length, ...rest } = upstream.headers;
    if (lying?.tell) {
      told += 1;
      const body = lying.tell(/json/.test(String(rest['content-type'])) ? await upstream.body.json() : null);
      if (!lying.cutAfter) upstream.body.resume();
      answer.writeHead(body === null ? 404 : upstream.statusCode, {
        ...rest,
        'content-type': 'application/json',
      });
      answer.end(JSON.stringify(body ?? { code: 'not_found', message: 'There is no such thing.' }));
      return;
    }
    answer.writeHead(upstream.statusCode, rest);
    let sent = 0;
    try {
      for await (const chunk of upstream.body as AsyncIterable<Buffer>) {
        sent += chunk.length;
        answer.write(chunk);
        if (lying?.cutAfter === undefined || sent < lying.cutAfter) continue;
        told += 1;
        // What was written goes out first.
        answer.write('', () => answer.destroy());
        return;
      }
      answer.end();
    } catch {
      answer.destroy();
    }
  });
  // A WebSocket: its bytes are passed on as they are.
  const tunnels = new Set<Socket>();
  server.on('upgrade', (asked, socket: Socket) => {
    const { hostname, port } = new URL(target);
    const upstream = connect(Number(port), hostname);
    const lying = lie?.about.test(`${asked.method} ${asked.url}`) ? lie : null;
    for (const end of [socket, upstream]) {
      tunnels.add(end);
      end.on('error', () => {});
      end.on('close', () => [socket, upstream].forEach((one) => one.destroy()));
    }
    const lines = asked.rawHeaders.flatMap((name, i) =>
      i % 2 === 0 ? [`${name}: ${asked.rawHeaders[i + 1]}`] : [],
    );
    upstream.write(`${asked.method} ${asked.url} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
    socket.pipe(upstream);
    let sent = 0;
    upstream.on('data', (chunk: Buffer) => {
      sent += chunk.length;
      socket.write(chunk);
      if (lying?.cutAfter === undefined || sent < lying.cutAfter || !tunnels.delete(socket)) return;
      told += 1;
      socket.write('', () => socket.destroy());
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    told: () => told,
    async close() {
      server.closeAllConnections();
      for (const end of tunnels) end.destroy();
      server.close();
    },
  };
}
