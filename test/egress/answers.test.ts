// Answers that are meant to do harm, or just are late: each ends at its cap.
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { setDefaultCACertificates, getCACertificates, createServer as createTls } from 'node:tls';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { openEgress } from '../../src/egress/door.ts';
import { CA, CERTIFICATE, KEY } from '../support/certificate.ts';
import { eventually } from '../support/eventually.ts';

const egress = openEgress({
  allow: ['127.0.0.1', 'good.test', 'wrong.test'],
  resolve: async () => ['127.0.0.1'],
});
const servers: Server[] = [];
const sockets = new Set<Socket>();
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});
afterAll(() => egress.close());

/** A server of bytes: what it does once a request has come. */
async function serve(
  speak: (socket: Socket, request: string) => void,
  server = createServer(),
): Promise<number> {
  server.on(
    server instanceof Object && 'setSecureContext' in server ? 'secureConnection' : 'connection',
    (socket: Socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => sockets.delete(socket));
      socket.once('data', (request) => speak(socket, String(request)));
    },
  );
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** No connection is left to hang. */
const closed = () => eventually(() => sockets.size === 0, { what: 'every socket closed', withinMs: 10_000 });

const HEAD = 'HTTP/1.1 200 OK\r\n';
const to = (port: number) => ({
  method: 'POST' as const,
  url: `http://127.0.0.1:${port}/hook`,
  headers: { 'content-type': 'application/json' },
  body: '{}',
  maxHops: 0,
  totalMs: 10_000,
  keepBytes: 65_536,
});

/** Writes for as long as anybody takes it. */
function pour(socket: Socket, chunk: Buffer): void {
  const go = (): void => {
    while (!socket.destroyed && socket.write(chunk));
  };
  socket.on('drain', go);
  go();
}

describe('an answer', () => {
  it('comes whole, with its head', async () => {
    const port = await serve((socket) => socket.end(`${HEAD}x-own: 1\r\ncontent-length: 2\r\n\r\nok`));
    const reply = await egress.send(to(port));
    expect(reply).toMatchObject({ how: 'answered', status: 200, truncated: false, location: null });
    if (reply.how === 'answered')
      expect([reply.body.toString(), reply.headers['x-own']]).toEqual(['ok', '1']);
  });

  it('sends what it was given, on a connection that is used once', async () => {
    const seen: string[] = [];
    const port = await serve((socket, request) => {
      seen.push(request);
      socket.write(`${HEAD}content-length: 0\r\nconnection: keep-alive\r\n\r\n`);
    });
    await egress.send(to(port));
    await egress.send(to(port));
    expect(seen).toHaveLength(2);
    expect(seen[0]).toMatch(/^POST \/hook HTTP\/1\.1\r\n/);
    expect(seen[0]).toMatch(/accept-encoding: identity\r\n/);
    expect(seen[0]).toMatch(/connection: close\r\n/);
    expect(seen[0]).toMatch(/content-length: 2\r\n\r\n\{\}$/);
    await closed();
  });

  it.each([
    ['without end', 'connection: close\r\n\r\n'],
    ['of 10 GiB', `content-length: ${10 * 2 ** 30}\r\n\r\n`],
    ['in chunks without end', 'transfer-encoding: chunked\r\n\r\n'],
  ])('%s is kept to its cap and cut', async (_, head) => {
    const filling = Buffer.alloc(65_536, 'x');
    const chunk = head.includes('chunked')
      ? Buffer.concat([Buffer.from('10000\r\n'), filling, Buffer.from('\r\n')])
      : filling;
    const port = await serve((socket) => {
      socket.write(HEAD + head);
      pour(socket, chunk);
    });
    const before = process.memoryUsage().rss;
    const reply = await egress.send(to(port));
    expect(reply).toMatchObject({ how: 'answered', status: 200, truncated: true });
    if (reply.how === 'answered') expect(reply.body.length).toBe(65_536);
    await closed();
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 2 ** 20);
  });

  it('of which nothing is kept leaves its status', async () => {
    const port = await serve((socket) =>
      pour(socket.write(`${HEAD}\r\n`) ? socket : socket, Buffer.alloc(1_000)),
    );
    const reply = await egress.send({ ...to(port), keepBytes: 0 });
    expect(reply).toMatchObject({ how: 'answered', status: 200, truncated: true, body: Buffer.alloc(0) });
  });

  it('that trickles ends when its time is over, and its status counts', async () => {
    const port = await serve((socket) => {
      socket.write(`${HEAD}content-length: 1000\r\n\r\n`);
      const timer = setInterval(() => socket.write('x'), 20);
      socket.on('close', () => clearInterval(timer));
    });
    const reply = await egress.send({ ...to(port), totalMs: 500 });
    expect(reply).toMatchObject({ how: 'answered', status: 200, truncated: true });
    expect(reply.ms).toBeGreaterThanOrEqual(490);
    await closed();
  });

  it.each([
    ['never begins', () => {}],
    ['trickles in its head', (socket: Socket) => drip(socket, `${HEAD}x-slow: ${'x'.repeat(10_000)}`)],
    [
      'is announced again and again',
      (socket: Socket) => drip(socket, 'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(1_000)),
    ],
  ])('that %s is a timeout', async (_, speak) => {
    const port = await serve(speak);
    expect(await egress.send({ ...to(port), totalMs: 400 })).toMatchObject({ how: 'timeout' });
    await closed();
  });

  it.each([
    ['one huge header', `${HEAD}x-big: ${'x'.repeat(20_000)}\r\n\r\n`],
    ['many headers', `${HEAD}${'x-many: 1234567890\r\n'.repeat(2_000)}\r\n`],
    ['no HTTP at all', 'SSH-2.0-OpenSSH_9.9\r\n'],
    ['two lengths', `${HEAD}content-length: 1\r\ncontent-length: 2\r\n\r\nxx`],
    [
      'a length and chunks',
      `${HEAD}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n`,
    ],
  ])('with %s is a failure', async (_, text) => {
    const port = await serve((socket) => void socket.write(text));
    const reply = await egress.send({ ...to(port), totalMs: 3_000 });
    expect(reply).toMatchObject({ how: 'failed', code: 'EPROTO' });
    await closed();
  });

  it('that is reset before its head is a failure; after it, an answer that was cut', async () => {
    const before = await serve((socket) => void socket.resetAndDestroy());
    expect(await egress.send(to(before))).toMatchObject({ how: 'failed', code: 'ECONNRESET' });
    const after = await serve((socket) => {
      socket.write(`${HEAD}content-length: 100\r\n\r\nhalf`);
      setTimeout(() => socket.resetAndDestroy(), 50);
    });
    expect(await egress.send(to(after))).toMatchObject({ how: 'answered', status: 200, truncated: true });
  });

  it('that is compressed is kept as it came', async () => {
    const bomb = gzipSync(Buffer.alloc(50 * 2 ** 20));
    const port = await serve((socket) => {
      socket.write(`${HEAD}content-encoding: gzip\r\ncontent-length: ${bomb.length}\r\n\r\n`);
      socket.end(bomb);
    });
    const reply = await egress.send({ ...to(port), keepBytes: bomb.length });
    expect(reply).toMatchObject({ how: 'answered', truncated: false });
    if (reply.how === 'answered') expect(reply.body.equals(bomb)).toBe(true);
  });

  it('may be stopped, or ended by closing', async () => {
    const port = await serve(() => {});
    const stop = new AbortController();
    const stopped = egress.send({ ...to(port), signal: stop.signal });
    await eventually(() => sockets.size === 1, { what: 'a connection', withinMs: 10_000 });
    stop.abort();
    expect(await stopped).toMatchObject({ how: 'stopped' });
    const other = openEgress({ allow: ['127.0.0.1'] });
    const ended = other.send(to(port));
    await other.close();
    expect(await ended).toMatchObject({ how: 'stopped' });
    await closed();
  });

  it('is none where nobody listens', async () => {
    const port = await serve(() => {});
    await new Promise((resolve) => servers.pop()!.close(resolve));
    const reply = await egress.send(to(port));
    expect(reply).toMatchObject({ how: 'failed', code: 'ECONNREFUSED' });
    expect(JSON.stringify(reply)).not.toContain('127.0.0.1');
  });
});

describe('a stream', () => {
  const open = (port: number, maxBytes: number) => egress.open({ ...to(port), method: 'GET', maxBytes });

  it('goes no faster than it is read', async () => {
    let written = 0;
    const port = await serve((socket) => {
      socket.write(`${HEAD}connection: close\r\n\r\n`);
      const chunk = Buffer.alloc(65_536);
      const go = (): void => {
        while (!socket.destroyed && written < 200 * 2 ** 20) {
          written += chunk.length;
          if (!socket.write(chunk)) return;
        }
      };
      socket.on('drain', go);
      go();
    });
    const opened = await open(port, 2 ** 30);
    if (opened.how !== 'answered') throw new Error(opened.how);
    // What the kernel's buffers take between two processes on one machine is some megabytes.
    let last = -1;
    const still = (): boolean => last === (last = written);
    await eventually(still, { what: 'a sender that waits', withinMs: 20_000, everyMs: 200 });
    expect(written).toBeLessThan(50 * 2 ** 20);
    opened.body.destroy();
    await closed();
  });

  const read = async (opened: Awaited<ReturnType<typeof open>>): Promise<number> => {
    if (opened.how !== 'answered') throw new Error(opened.how);
    let bytes = 0;
    for await (const chunk of opened.body) bytes += (chunk as Buffer).length;
    return bytes;
  };

  it('is cut beyond its most, by its own word before a byte of it is read', async () => {
    const endless = await serve((socket) =>
      pour(socket.write(`${HEAD}\r\n`) ? socket : socket, Buffer.alloc(65_536)),
    );
    await expect(open(endless, 2 ** 20).then(read)).rejects.toMatchObject({ why: 'too_large' });
    const honest = await serve((socket) => void socket.write(`${HEAD}content-length: 1048577\r\n\r\n`));
    expect(await open(honest, 2 ** 20)).toMatchObject({ how: 'too_large' });
    const exact = await serve(
      (socket) => void socket.end(`${HEAD}content-length: 1000\r\n\r\n${'x'.repeat(1_000)}`),
    );
    expect(await open(exact, 1_000).then(read)).toBe(1_000);
    await closed();
  });

  it('says when it is short, late or stopped', async () => {
    const short = await serve((socket) => void socket.end(`${HEAD}content-length: 100\r\n\r\nx`));
    await expect(open(short, 1_000).then(read)).rejects.toMatchObject({ why: 'lost' });
    const late = await serve((socket) => void socket.write(`${HEAD}content-length: 100\r\n\r\nx`));
    const opened = await egress.open({ ...to(late), method: 'GET', maxBytes: 1_000, totalMs: 300 });
    await expect(read(opened)).rejects.toMatchObject({ why: 'timeout' });
    await closed();
  });
});

describe('TLS', () => {
  setDefaultCACertificates([...getCACertificates(), CA]);
  const secure = () =>
    serve(
      (socket) => void socket.end(`${HEAD}content-length: 2\r\n\r\nok`),
      createTls({ cert: CERTIFICATE, key: KEY }),
    );
  const https = (host: string, port: number) => ({ ...to(port), url: `https://${host}:${port}/` });

  it('is taken with the right name', async () => {
    expect(await egress.send(https('good.test', await secure()))).toMatchObject({
      how: 'answered',
      status: 200,
    });
    expect(await egress.send(https('GOOD.test.', await secure()))).toMatchObject({
      how: 'answered',
      status: 200,
    });
  });

  it.each(['wrong.test', '127.0.0.1'])('is refused with the name of another: %s', async (host) => {
    const reply = await egress.send(https(host, await secure()));
    expect(reply).toMatchObject({
      how: 'failed',
      code: 'ETLS',
      message: 'TLS could not be agreed upon: the certificate is of another name.',
    });
  });

  it('is not spoken by everybody', async () => {
    const port = await serve((socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    expect(await egress.send(https('good.test', port))).toMatchObject({ how: 'failed', code: 'ETLS' });
    const silent = await serve(() => {});
    expect(await egress.send({ ...https('good.test', silent), totalMs: 300 })).toMatchObject({
      how: 'timeout',
    });
  });
});

it('is asked for no header of the connection', async () => {
  for (const name of ['Host', 'connection', 'Transfer-Encoding', 'proxy-authorization', 'content-length'])
    await expect(egress.send({ ...to(1), headers: { [name]: 'x' } })).rejects.toThrow(TypeError);
});

function drip(socket: Socket, text: string): void {
  let at = 0;
  const timer = setInterval(() => socket.write(text.slice(at, (at += 30))), 10);
  socket.on('close', () => clearInterval(timer));
}
