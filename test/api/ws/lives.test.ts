// How a connection ends that was good: its key goes, its client is slow or gone, the process drains.
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chat } from '../../support/client.ts';
import { sample } from '../../support/metrics.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../../support/platform.ts';
import { openSocket, refusedSocket, tcpOf, type TestSocket } from '../../support/socket.ts';
import { spawnApi } from '../../support/spawn.ts';

let millrace: TestPlatform;
beforeAll(async () => {
  millrace = await startPlatform({ env: { SOCKET_HEARTBEAT_MS: '500' } });
});
afterAll(() => millrace.stop());

const changed = () => millrace.platform.ctx.bus.publish([{ type: 'catalogue' }]);

/** A connection that is opened, says what it is told to, and from then on takes nothing. */
async function stall(
  url: string,
  key: string,
  say: Record<string, unknown>[],
): Promise<TestSocket & { tcp: Socket }> {
  const socket = await openSocket(url, { key });
  const tcp = tcpOf(socket);
  for (const message of say) await socket.ask(message);
  await socket.until(({ type }) => type === 'caught_up');
  tcp.pause();
  return { ...socket, tcp };
}

/** Fills what the account has to tell, without the flow that would make it: as many events as were never paid for. */
async function manyEvents(
  account: TestAccount,
  { from, to, bytes }: { from: number; to: number; bytes: number },
): Promise<void> {
  await millrace.sql(
    `insert into events select $1, n, 'ev_' || n, 'test.filler', null, '{"sequence":' || n || ',"x":"' || repeat(md5(n::text), $4) || '"}', now()
      from generate_series($2::int, $3::int) n`,
    [account.id, from, to, bytes / 32],
  );
  await millrace.sql('update accounts set event_sequence = $2 where id = $1', [account.id, to]);
  millrace.platform.ctx.bus.publish([{ type: 'account', accountId: account.id }]);
}

describe('a key', () => {
  it('that is revoked takes all its connections with it, at once', async () => {
    const account = await millrace.account();
    const other = await millrace.account();
    const sockets = await Promise.all(
      Array.from({ length: 3 }, () => openSocket(millrace.url, { key: account.key })),
    );
    const bystander = await openSocket(millrace.url, { key: other.key });
    await millrace.sql('update api_keys set revoked_at = now() where account_id = $1', [account.id]);
    changed();
    for (const { closed } of sockets) expect(await closed).toEqual({ code: 4401, reason: 'api_key_invalid' });
    expect(await bystander.ask({ type: 'ping' })).toMatchObject({ type: 'pong' });
    expect((await refusedSocket(millrace.url, { key: account.key })).status).toBe(401);
    await bystander.close();
  });

  it('whose time is over is found out at a heartbeat', async () => {
    const account = await millrace.account();
    const socket = await openSocket(millrace.url, { key: account.key });
    await millrace.sql(`update api_keys set expires_at = now() + interval '300 ms' where account_id = $1`, [
      account.id,
    ]);
    expect(await socket.closed).toEqual({ code: 4401, reason: 'api_key_expired' });
  });

  it.each(['suspended', 'closed'])('of an account that is %s closes with 4403', async (status) => {
    const account = await millrace.account();
    const socket = await openSocket(millrace.url, { key: account.key });
    const { status: done } = await millrace.admin.send('PATCH', `/v1/admin/accounts/${account.id}`, {
      body: { status: 'suspended', reason: 'x' },
    });
    expect(done).toBe(200);
    if (status === 'closed') {
      await millrace.sql(`update accounts set status = 'closed' where id = $1`, [account.id]);
      changed();
    }
    expect((await socket.closed).code).toBe(4403);
  });
});

describe('hearts', () => {
  it('beat, and whose does not any more is closed with 4408', async () => {
    const account = await millrace.account();
    const alive = await openSocket(millrace.url, { key: account.key });
    let pings = 0;
    alive.ws.on('ping', () => (pings += 1));
    // Half a connection: it was opened, and then the cable was cut. What is sent to it goes nowhere, and nothing comes.
    const { hostname, port } = new URL(millrace.url);
    const dead = connect(Number(port), hostname);
    dead.write(
      `GET /v1/ws HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\nauthorization: Bearer ${account.key}\r\n` +
        'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\nsec-websocket-protocol: millrace.v1\r\n\r\n',
    );
    let heard = Buffer.alloc(0);
    dead.on('data', (bytes) => (heard = Buffer.concat([heard, bytes])));
    await expect
      .poll(() => heard.indexOf(Buffer.from([0x88, 9, 0x11, 0x38])), { timeout: 15_000 })
      .toBeGreaterThan(0);
    expect(heard.toString('latin1')).toContain('no pong');
    dead.destroy();
    expect(pings).toBeGreaterThan(1);
    expect(await alive.ask({ type: 'ping' })).toMatchObject({ type: 'pong' });
    await alive.close();
    await expect.poll(() => sample(millrace.url, 'millrace_websockets'), { timeout: 15_000 }).toBe(0);
  }, 40_000);
});

describe('a reader that takes nothing', () => {
  const EVENT_BYTES = 9_984;

  it('is closed with 1013 once a mebibyte waits for it, resumes by its cursor, and costs nobody else a thing', async () => {
    const api = await spawnApi(millrace);
    const account = await millrace.account();
    const quick = await openSocket(api.url, { key: account.key });
    await quick.ask({ type: 'subscribe', jobs: 'all', after: 'now' });
    const slow = await stall(api.url, account.key, [{ type: 'subscribe', jobs: 'all', after: 'now' }]);
    const rss = (): number =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${api.pid}/status`, 'utf8'))?.[1]) / 1024;
    const before = rss();
    let last = 1;
    // Until the kernel's own buffers are full, too.
    while ((await sample(api.url, 'millrace_websocket_subscriptions')) === 2) {
      expect(last).toBeLessThan(4_000);
      await manyEvents(account, { from: last + 1, to: last + 100, bytes: EVENT_BYTES });
      last += 100;
      await quick.until(({ event }) => event?.sequence === last);
    }
    slow.tcp.resume();
    expect(await slow.closed).toEqual({ code: 1013, reason: 'slow reader' });
    expect(rss() - before).toBeLessThan(120);
    const heard = slow.messages.filter(({ type }) => type === 'event').map(({ event }) => event.sequence);
    expect(heard).toEqual(heard.map((_, i) => i + 2));
    expect(heard.length).toBeLessThan(last - 1);
    const again = await openSocket(api.url, { key: account.key });
    await again.ask({ type: 'subscribe', jobs: 'all', after: heard.at(-1) ?? 1 });
    await again.until(({ event }) => event?.sequence === last);
    const rest = again.messages.filter(({ type }) => type === 'event').map(({ event }) => event.sequence);
    expect([...heard, ...rest]).toEqual(Array.from({ length: last - 1 }, (_, i) => i + 2));
    expect(quick.messages.filter(({ type }) => type === 'event')).toHaveLength(last - 1);
    await api.kill();
  }, 60_000);

  it('is read no backlog for that it does not take', async () => {
    const api = await spawnApi(millrace, { SOCKET_HEARTBEAT_MS: '60000' });
    const account = await millrace.account();
    await manyEvents(account, { from: 2, to: 3_000, bytes: EVENT_BYTES });
    const rss = (): number =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${api.pid}/status`, 'utf8'))?.[1]) / 1024;
    const warm = await openSocket(api.url, { key: account.key });
    await warm.ask({ type: 'subscribe', jobs: 'all', after: 'start' });
    await warm.until(({ type }) => type === 'caught_up');
    await warm.close();
    const before = rss();
    const sockets = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const socket = await openSocket(api.url, { key: account.key });
        const tcp = tcpOf(socket);
        socket.say({ type: 'subscribe', ref: 'x', jobs: 'all', after: 'start' });
        tcp.pause();
        return { ...socket, tcp };
      }),
    );
    await sleep(1_500);
    // Each has 30 MB to read.
    expect(rss() - before).toBeLessThan(150);
    const [one] = sockets;
    one?.tcp.resume();
    await one?.until(({ type, cursor }) => type === 'caught_up' && cursor === 3_000);
    expect(one?.messages.filter(({ type }) => type === 'event')).toHaveLength(3_000);
    for (const { ws } of sockets) ws.terminate();
    await api.kill();
  }, 60_000);
});

describe('a reader of many backlogs that takes nothing', () => {
  it('is read one of them at a time', async () => {
    const api = await spawnApi(millrace, { SOCKET_HEARTBEAT_MS: '60000' });
    const account = await millrace.account();
    await manyEvents(account, { from: 2, to: 3_000, bytes: 9_984 });
    const rss = (): number =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${api.pid}/status`, 'utf8'))?.[1]) / 1024;
    const warm = await openSocket(api.url, { key: account.key });
    await warm.ask({ type: 'subscribe', jobs: 'all', after: 'start' });
    await warm.until(({ type }) => type === 'caught_up');
    await warm.close();
    const before = rss();
    const sockets: TestSocket[] = [];
    for (let n = 0; n < 10; n++) {
      const socket = await openSocket(api.url, { key: account.key });
      sockets.push(socket);
      tcpOf(socket).pause();
      for (let i = 0; i < 95; i++)
        socket.say({ type: 'subscribe', ref: `r${i}`, jobs: 'all', after: 1 + n * 100 + i });
    }
    await expect
      .poll(() => sample(api.url, 'millrace_websocket_subscriptions'), { timeout: 15_000 })
      .toBe(950);
    await sleep(2_000);
    // What each may be read at once is 256 KiB, and as much again as frames.
    expect(rss() - before).toBeLessThan(150);
    // One that takes what comes is told of each all that it asked for.
    const quick = await openSocket(api.url, { key: account.key });
    sockets.push(quick);
    const froms = [2_500, 2_800, 2_900];
    for (const after of froms) quick.say({ type: 'subscribe', ref: `${after}`, jobs: 'all', after });
    for (const after of froms) {
      const { subscription } = await quick.until(
        ({ type, ref }) => type === 'subscribed' && ref === `${after}`,
      );
      await quick.until((m) => m.type === 'caught_up' && m.subscription === subscription);
      const heard = quick.messages.filter((m) => m.type === 'event' && m.subscription === subscription);
      const all = Array.from({ length: 3_000 - after }, (_, i) => after + 1 + i);
      expect(heard.map(({ event }) => event.sequence)).toEqual(all);
    }
    for (const { ws } of sockets) ws.terminate();
    await api.kill();
  }, 60_000);
});

describe('a client that goes', () => {
  it('at any moment leaves nothing followed behind', async () => {
    const account = await millrace.account();
    const jobs: string[] = [];
    for (let i = 0; i < 20; i++) {
      const socket = await openSocket(millrace.url, { key: account.key });
      const { id } = await account.submit(chat('x', { sim: { fault: 'hang' } }));
      jobs.push(id);
      socket.say({ type: 'submit', ref: 'a', job: chat('x', { sim: { fault: 'hang' } }), subscribe: true });
      socket.say({ type: 'subscribe', ref: 'b', jobs, deltas: true });
      socket.say({ type: 'subscribe', ref: 'c', jobs: 'all' });
      await sleep(i);
      socket.ws.terminate();
    }
    await expect.poll(() => sample(millrace.url, 'millrace_watches'), { timeout: 15_000 }).toBe(0);
    expect(await sample(millrace.url, 'millrace_websockets')).toBe(0);
    const open = await millrace.sql<{ id: string }>(
      `select id from jobs where account_id = $1 and ended_at is null`,
      [account.id],
    );
    expect(open.length).toBeGreaterThan(20);
    for (const { id } of open) await account.post(`/v1/jobs/${id}/cancel`);
  }, 40_000);
});

describe('a drain', () => {
  it('answers what is open, says goodbye with a time to come back, closes with 1012 and ends in time', async () => {
    const api = await spawnApi(millrace);
    const account = await millrace.account();
    const sockets = await Promise.all(
      Array.from({ length: 20 }, () => openSocket(api.url, { key: account.key })),
    );
    for (const socket of sockets) await socket.ask({ type: 'subscribe', jobs: 'all', after: 'now' });
    const [first, deaf] = sockets as [TestSocket, TestSocket];
    tcpOf(deaf).pause();
    for (let i = 0; i < 10; i++) first.say({ type: 'submit', ref: `j${i}`, job: chat() });
    await first.until(({ ref }) => ref === 'j0');
    const from = performance.now();
    const ended = api.drain();
    for (const socket of sockets.filter((one) => one !== deaf)) {
      expect(await socket.closed).toEqual({ code: 1012, reason: 'drain' });
      expect(socket.messages.at(-1)).toEqual({
        type: 'closing',
        reason: 'drain',
        reconnect_in_ms: expect.any(Number),
      });
    }
    expect(await ended).toBe(0);
    expect(performance.now() - from).toBeLessThan(12_000);
    // What was admitted was answered.
    const answered = first.messages.filter(({ type, ref }) => type === 'job' && ref.startsWith('j')).length;
    const [row] = await millrace.sql<{ n: string }>('select count(*) as n from jobs where account_id = $1', [
      account.id,
    ]);
    expect(answered).toBe(Number(row?.n));
    const waits = sockets
      .filter((one) => one !== deaf)
      .map(({ messages }) => messages.at(-1).reconnect_in_ms as number);
    expect(new Set(waits).size).toBeGreaterThan(10);
    for (const wait of waits) expect(wait).toBeGreaterThanOrEqual(500);
    for (const wait of waits) expect(wait).toBeLessThanOrEqual(5_000);
    deaf.ws.terminate();
  }, 30_000);
});
