// Readers as they are: slow, gone, too many, without a key any more; and what is said to those who only wait.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { request } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chat } from '../support/client.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { spawnApi } from '../support/spawn.ts';

let millrace: TestPlatform;
beforeAll(async () => {
  millrace = await startPlatform({ env: { HEARTBEAT_MS: '100' } });
});
afterAll(() => millrace.stop());

/** A connection on which a stream was asked for. Nobody reads it, until somebody does. */
async function ask(url: string, path: string, key: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  await once(socket, 'connect');
  socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\n\r\n`);
  return socket;
}

/** What came on a connection once it ended, or once `enough` says so. */
async function heard(socket: Socket, enough: (text: string) => boolean = () => false): Promise<string> {
  let text = '';
  for await (const bytes of socket) {
    text += String(bytes);
    if (enough(text)) break;
  }
  return text;
}

async function watches(url = millrace.url): Promise<number> {
  const { body } = await request(`${url}/metrics`);
  return Number(/^millrace_watches (\d+)$/m.exec(await body.text())?.[1]);
}

async function until(true_: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await true_())) await sleep(20);
}

describe('a stream', () => {
  it('says first how soon to come back, and keeps quiet lines open', async () => {
    const account = await millrace.account();
    const text = await heard(await ask(millrace.url, '/v1/events?after=now', account.key), (text) =>
      text.includes(': hb\n\n\r\n6\r\n: hb'),
    );
    const [head, body] = [text.slice(0, text.indexOf('\r\n\r\n')), text.slice(text.indexOf('\r\n\r\n') + 4)];
    expect(head).toMatch(/^HTTP\/1.1 200 OK/);
    expect(head).toMatch(/^content-type: text\/event-stream; charset=utf-8\r$/im);
    expect(head).toMatch(/^cache-control: no-cache, no-transform\r$/im);
    expect(head).toMatch(/^x-request-id: req_/im);
    expect(body).toMatch(/^d\r\nretry: 1000\n\n\r\n(6\r\n: hb\n\n\r\n)+/);
  });

  it('is no longer for those whose key was revoked', async () => {
    const account = await millrace.account();
    const socket = await ask(millrace.url, '/v1/events?after=now', account.key);
    const all = heard(socket);
    await until(async () => (await watches()) === 1);
    await millrace.sql('update api_keys set revoked_at = now() where account_id = $1', [account.id]);
    // As whoever revokes a key says it to every process.
    millrace.platform.ctx.bus.publish([{ type: 'catalogue' }]);
    expect(await all).toContain('200 OK');
    expect((await account.get('/v1/events')).body).toMatchObject({ code: 'api_key_invalid' });
  });

  it('has nothing to answer a HEAD with', async () => {
    const account = await millrace.account();
    const { status } = await account.send('HEAD', '/v1/events');
    expect(status).toBe(405);
  });
});

describe('a reader that goes away', () => {
  it('is noticed, whenever it goes', async () => {
    const account = await millrace.account();
    const { id } = await account.submit(chat('x', { sim: { latency_ms: 60_000 } }));
    await until(async () => (await watches()) === 0);
    const paths = ['/v1/events', `/v1/jobs/${id}/events`];
    // Twice what a key may have open: were they not let go of, there would be no room.
    for (let round = 0; round < 10; round++) {
      const sockets = await Promise.all(
        Array.from({ length: 20 }, (_, i) => ask(millrace.url, paths[i % 2] as string, account.key)),
      );
      for (const [i, socket] of sockets.entries()) {
        // Some before they are answered, some while, some after.
        setTimeout(() => (i % 3 === 0 ? socket.resetAndDestroy() : socket.destroy()), (i * round) / 2);
      }
      await Promise.all(sockets.map((socket) => once(socket, 'close')));
    }
    await until(async () => (await watches()) === 0);
    const still = await ask(millrace.url, '/v1/events', account.key);
    expect(await heard(still, (text) => text.includes('credits.granted'))).toContain('200 OK');
    await account.post(`/v1/jobs/${id}/cancel`);
  });

  it('leaves room: a key has a hundred streams, and one more is refused', async () => {
    const account = await millrace.account();
    const sockets = await Promise.all(
      Array.from({ length: 100 }, () => ask(millrace.url, '/v1/events', account.key)),
    );
    await until(async () => (await watches()) === 100);
    const refused = await account.get('/v1/events');
    expect(refused).toMatchObject({
      status: 429,
      body: { code: 'too_many_connections', details: { max: 100 } },
    });
    expect(refused.headers['x-should-retry']).toBe('true');
    // Waits and pages are no streams.
    expect((await account.get('/v1/events', { accept: 'application/json' })).status).toBe(200);
    sockets[0]?.destroy();
    await until(
      async () => (await account.events('/v1/events', { until: () => true }).catch(() => [])).length === 1,
    );
    for (const socket of sockets) socket.destroy();
    await until(async () => (await watches()) === 0);
  });
});

describe('a reader that never reads', () => {
  const READERS = 30;
  const EVENTS = 3_000;
  const EVENT_BYTES = 9_984;

  it('costs the process no memory, the others no time, and a drain no patience', async () => {
    const api = await spawnApi(millrace);
    const account = await millrace.account();
    await manyEvents(account);
    const rss = (): number =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${api.pid}/status`, 'utf8'))?.[1]) / 1024;
    const quick = async (): Promise<number> => {
      const from = performance.now();
      const last = String(EVENTS + 1);
      let next = 1;
      for await (const bytes of (await ask(api.url, '/v1/events', account.key)).setEncoding('utf8')) {
        for (const [, id] of (bytes as string).matchAll(/^id: (\d+)$/gm)) expect(Number(id)).toBe(next++);
        if (next > Number(last)) break;
      }
      return performance.now() - from;
    };
    // Once for the process to grow to its size.
    const alone = await quick();
    const before = rss();
    const sockets = await Promise.all(
      Array.from({ length: READERS }, () => ask(api.url, '/v1/events', account.key)),
    );
    await until(async () => (await watches(api.url)) === READERS);
    const together = await quick();
    // Unbounded, they would hold READERS * EVENTS * EVENT_BYTES, which is 900 MB.
    expect(rss() - before).toBeLessThan(150);
    expect(together).toBeLessThan(alone * 5 + 2_000);
    const from = performance.now();
    expect(await api.drain()).toBe(0);
    expect(performance.now() - from).toBeLessThan(15_000);
    for (const socket of sockets) socket.destroy();
  });

  const manyEvents = async (account: TestAccount): Promise<void> => {
    await millrace.sql(
      `insert into events select $1, n, 'ev_' || n, 'test.filler', null, '{"n":' || n || ',"x":"' || repeat(md5(n::text), $3) || '"}', now()
        from generate_series(2, $2::int + 1) n`,
      [account.id, EVENTS, EVENT_BYTES / 32],
    );
    await millrace.sql('update accounts set event_sequence = $2 where id = $1', [account.id, EVENTS + 1]);
  };
});
