// Who is let in, and what is said to those who are not.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Answer } from '../../support/client.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../../support/platform.ts';
import { expectRefusal, parseAnswer } from '../../support/refusal.ts';
import { openSocket, refusedSocket } from '../../support/socket.ts';

const PAGE = 'https://pages.example';
let millrace: TestPlatform;
let account: TestAccount;
beforeAll(async () => {
  millrace = await startPlatform({ worker: false, env: { CORS_ORIGINS: `${PAGE},https://other.example` } });
  account = await millrace.account();
});
afterAll(() => millrace.stop());

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const good = (): Record<string, string> => ({
  host: 'x',
  connection: 'Upgrade',
  upgrade: 'websocket',
  authorization: `Bearer ${account.key}`,
  'sec-websocket-key': KEY,
  'sec-websocket-version': '13',
  'sec-websocket-protocol': 'millrace.v1',
});

async function raw(text: string): Promise<Socket> {
  const { hostname, port } = new URL(millrace.url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  await once(socket, 'connect');
  socket.write(text);
  return socket;
}

function head(headers: Record<string, string | undefined>, path = '/v1/ws', method = 'GET'): string {
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}: ${value}\r\n`],
  );
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

/** All that is said until the connection is closed. */
async function told(text: string): Promise<{ text: string; answer: Answer }> {
  let heard = '';
  for await (const chunk of await raw(text)) heard += String(chunk);
  return { text: heard, answer: parseAnswer(heard) as Answer };
}

/** The head of the first answer. */
async function firstHead(socket: Socket): Promise<string> {
  let text = '';
  for await (const chunk of socket) {
    text += (chunk as Buffer).toString('latin1');
    if (text.includes('\r\n\r\n')) break;
  }
  return text;
}

describe('a handshake', () => {
  it('is answered as the standard says, with the id of its request', async () => {
    const text = await firstHead(
      await raw(head({ ...good(), 'sec-websocket-protocol': 'other, millrace.v1' })),
    );
    expect(text).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\n/);
    // RFC 6455, 1.3.
    expect(text).toMatch(/^Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r$/m);
    expect(text).toMatch(/^Sec-WebSocket-Protocol: millrace\.v1\r$/m);
    expect(text).toMatch(/^x-request-id: req_\w{26}\r$/m);
    expect(text).not.toMatch(/sec-websocket-extensions/i);
  });

  it.each([
    ['without a subprotocol', { 'sec-websocket-protocol': undefined }, 'Sec-WebSocket-Protocol'],
    ['with another one', { 'sec-websocket-protocol': 'millrace.v2, graphql-ws' }, 'Sec-WebSocket-Protocol'],
    ['with a broken list of them', { 'sec-websocket-protocol': 'millrace.v1,,x' }, 'Sec-WebSocket-Protocol'],
    ['with one twice', { 'sec-websocket-protocol': 'millrace.v1, millrace.v1' }, 'Sec-WebSocket-Protocol'],
    ['without a key', { 'sec-websocket-key': undefined }, 'Sec-WebSocket-Key'],
    ['with a short key', { 'sec-websocket-key': 'YWJj' }, 'Sec-WebSocket-Key'],
    ['of an unknown version', { 'sec-websocket-version': '12' }, 'Sec-WebSocket-Version'],
    ['of an old version', { 'sec-websocket-version': '8' }, 'Sec-WebSocket-Version'],
    ['without a version', { 'sec-websocket-version': undefined }, 'Sec-WebSocket-Version'],
  ])('%s is refused by name, and the connection closed', async (_, change, name) => {
    const { answer } = await told(head({ ...good(), ...change }));
    expectRefusal(answer, 'invalid_request');
    expect(answer.body.details.issues[0].path).toBe(name);
    if (name === 'Sec-WebSocket-Version') expect(answer.headers['sec-websocket-version']).toBe('13');
  });

  it('that is none is a request like any other', async () => {
    const plain = await account.get('/v1/ws');
    expectRefusal(plain, 'invalid_request');
    expect(plain.headers['upgrade']).toBe('websocket');
    const { upgrade: _, ...without } = good();
    const { answer } = await told(head({ ...without, connection: 'close' }));
    expectRefusal(answer, 'invalid_request');
    // What a client would rather speak is ignored where we do not speak it.
    for (const [path, upgrade] of [
      ['/healthz', 'websocket'],
      ['/v1/account', 'websocket'],
      ['/v1/account', 'h2c'],
      ['/v1/account', 'TLS/1.0'],
    ] as const) {
      const text = head({ ...good(), upgrade, connection: 'Upgrade, close' }, path);
      expect((await told(text)).answer.status, `${path} ${upgrade}`).toBe(200);
    }
    expectRefusal(
      (await told(head({ ...good(), upgrade: 'h2c', connection: 'Upgrade, close' }))).answer,
      'invalid_request',
    );
    const posted = await told(
      head({ ...good(), connection: 'Upgrade, close', 'content-length': '0' }, '/v1/ws', 'POST'),
    );
    expectRefusal(posted.answer, 'method_not_allowed');
    expectRefusal(
      (await told(head({ ...good(), connection: 'Upgrade, close' }, '/v1/ws/x'))).answer,
      'not_found',
    );
    expectRefusal((await told(head(good(), '/v1/ws?x=1'))).answer, 'invalid_request');
    expectRefusal((await told(head({ ...good(), host: undefined }))).answer, 'invalid_request');
  });

  it('whose client goes in the middle of it leaves nothing behind', async () => {
    for (let i = 0; i < 40; i++) {
      const socket = await raw(head(good()));
      if (i % 2 === 0) socket.resetAndDestroy();
      else setTimeout(() => socket.destroy(), i / 4);
    }
    await expect.poll(open, { timeout: 20_000 }).toBe(0);
  });

  it('that is never finished is given up', async () => {
    const { authorization } = good();
    const { answer } = await told(
      `GET /v1/ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nauthorization: ${authorization}\r\n`,
    );
    expectRefusal(answer, 'request_timeout');
  }, 20_000);
});

async function open(): Promise<number> {
  const { body } = await account.get('/metrics');
  return Number(/^millrace_websockets (\d+)$/m.exec(body)?.[1]);
}

describe('who has no right to it', () => {
  it('is told so in our own words, before anything is opened', async () => {
    expect(await refusedSocket(millrace.url, { key: 'mr_live_nonsense' })).toMatchObject({
      status: 401,
      headers: {
        'www-authenticate': 'Bearer',
        'x-should-retry': 'false',
        'x-request-id': expect.stringMatching(/^req_/),
      },
      body: {
        code: 'api_key_invalid',
        statusCode: 401,
        path: '/v1/ws',
        requestId: expect.stringMatching(/^req_/),
      },
    });
  });

  it('is a page of an origin that nobody allowed', async () => {
    for (const origin of ['https://evil.example', 'null', `${PAGE}.evil.example`, 'http://pages.example']) {
      const refused = await refusedSocket(millrace.url, { key: account.key, origin });
      expect([refused.status, refused.body.code], origin).toEqual([403, 'scope_denied']);
      expect(refused.headers).not.toHaveProperty('access-control-allow-origin');
    }
    for (const origin of [PAGE, new URL(millrace.url).origin]) {
      const socket = await openSocket(millrace.url, { key: account.key, origin });
      await socket.until(({ type }) => type === 'hello');
      await socket.close();
    }
  });

  it('is an account that is closed or suspended', async () => {
    const one = await millrace.account();
    const set = (status: string) =>
      millrace.admin.send('PATCH', `/v1/admin/accounts/${one.id}`, { body: { status, reason: 'x' } });
    const { status, body } = await set('suspended');
    expect(status, JSON.stringify(body)).toBe(200);
    await expect
      .poll(async () => (await refusedSocket(millrace.url, { key: one.key }).catch(() => null))?.body.code, {
        timeout: 15_000,
      })
      .toBe('account_suspended');
  }, 20_000);

  it('is the fifty-first of a key', async () => {
    const one = await millrace.account();
    const sockets = await Promise.all(
      Array.from({ length: 50 }, () => openSocket(millrace.url, { key: one.key })),
    );
    expect(await refusedSocket(millrace.url, { key: one.key })).toMatchObject({
      status: 429,
      headers: { 'x-should-retry': 'true', 'retry-after': '1' },
      body: { code: 'too_many_connections', details: { max: 50 } },
    });
    await sockets[0]?.close();
    await expect
      .poll(
        () =>
          openSocket(millrace.url, { key: one.key })
            .then((socket) => sockets.push(socket))
            .catch(() => 0),
        { timeout: 10_000 },
      )
      .toBeGreaterThan(0);
    for (const { ws } of sockets) ws.terminate();
    await expect.poll(open, { timeout: 10_000 }).toBe(0);
  });
});
