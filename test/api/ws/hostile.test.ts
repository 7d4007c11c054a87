// Clients that send what nobody should: each is told, or closed by its code, and the next one is served as ever.
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chat } from '../../support/client.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../../support/platform.ts';
import { openSocket, tcpOf, type TestSocket } from '../../support/socket.ts';
import { sample } from '../../support/metrics.ts';

let millrace: TestPlatform;
let account: TestAccount;
const sockets: TestSocket[] = [];
beforeAll(async () => {
  millrace = await startPlatform({ worker: false });
  account = await millrace.account();
});
afterAll(async () => {
  for (const { ws } of sockets) ws.terminate();
  await millrace.stop();
});

async function open(): Promise<TestSocket> {
  const socket = await openSocket(millrace.url, { key: account.key });
  sockets.push(socket);
  return socket;
}

/** A frame as a client sends it, masked with nought. */
function frame(opcode: number, payload: Buffer, { fin = true, rsv = 0, masked = true } = {}): Buffer {
  const first = (fin ? 0x80 : 0) | rsv | opcode;
  const size = payload.length;
  const mask = masked ? 0x80 : 0;
  const length =
    size < 126
      ? [mask | size]
      : size < 65_536
        ? [mask | 126, size >> 8, size & 255]
        : [mask | 127, 0, 0, 0, 0, (size >>> 24) & 255, (size >>> 16) & 255, (size >>> 8) & 255, size & 255];
  return Buffer.concat([Buffer.from([first, ...length, ...(masked ? [0, 0, 0, 0] : [])]), payload]);
}

const ping = (ref: string): Buffer => Buffer.from(JSON.stringify({ type: 'ping', ref }));

describe('frames', () => {
  it('may come in pieces, with pings between them, byte by byte', async () => {
    const socket = await open();
    const text = ping('pieces');
    const bytes = Buffer.concat([
      frame(1, text.subarray(0, 5), { fin: false }),
      frame(9, Buffer.from('now')),
      frame(0, text.subarray(5, 9), { fin: false }),
      frame(0, Buffer.alloc(0), { fin: false }),
      frame(0, text.subarray(9)),
    ]);
    for (const byte of bytes) tcpOf(socket).write(Buffer.from([byte]));
    expect(await socket.until(({ ref }) => ref === 'pieces')).toMatchObject({ type: 'pong' });
  });

  it.each<[string, number, Buffer[]]>([
    ['too large', 1009, [frame(1, Buffer.alloc(1_048_577, 32))]],
    [
      'too large in pieces',
      1009,
      Array.from({ length: 5 }, (_, i) => frame(i === 0 ? 1 : 0, Buffer.alloc(300_000, 32), { fin: false })),
    ],
    ['said to be huge', 1009, [Buffer.from([0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])]],
    ['not UTF-8', 1007, [frame(1, Buffer.from([0x22, 0xff, 0x22]))]],
    ['not masked', 1002, [frame(1, ping('x'), { masked: false })]],
    ['said to be packed', 1002, [frame(1, ping('x'), { rsv: 0x40 })]],
    ['of no known kind', 1002, [frame(3, ping('x'))]],
    ['pieces of nothing', 1002, [frame(0, ping('x'))]],
    ['a ping in pieces', 1002, [frame(9, ping('x'), { fin: false })]],
    ['a ping of 126 bytes', 1002, [frame(9, Buffer.alloc(126))]],
    ['a close with a code that there is not', 1002, [frame(8, Buffer.from([0, 1]))]],
  ])('%s close the connection with %i', async (_, code, frames) => {
    const socket = await open();
    tcpOf(socket).write(Buffer.concat(frames));
    expect((await socket.closed).code).toBe(code);
    expect(await (await open()).ask({ type: 'ping' })).toMatchObject({ type: 'pong' });
  });

  it('of exactly a mebibyte are read', async () => {
    const socket = await open();
    const text = JSON.stringify({ type: 'ping', ref: 'big' });
    socket.say(text + ' '.repeat(1_048_576 - text.length));
    expect(await socket.until(({ ref }) => ref === 'big')).toMatchObject({ type: 'pong' });
  });
});

describe('messages', () => {
  it.each([
    ['no JSON', 'hello'],
    ['an empty one', ''],
    ['a list', '[]'],
    ['null', 'null'],
    ['an unknown type', '{"type":"nonsense","ref":"x"}'],
    ['no type', '{"ref":"x"}'],
    ["a type of the language's own", '{"type":"constructor","ref":"x"}'],
    ['binary', Buffer.from('{"type":"ping","ref":"x"}')],
  ])('that are %s are told off, and the third time closed with 4400', async (_, text) => {
    const socket = await open();
    for (let i = 1; i <= 3; i++) {
      if (Buffer.isBuffer(text)) socket.ws.send(text);
      else socket.say(text);
    }
    expect(await socket.closed).toEqual({ code: 4400, reason: 'not understood' });
    const errors = socket.messages.filter(({ type }) => type === 'error');
    expect(errors).toHaveLength(3);
    for (const { error } of errors) {
      expect(error.code).toMatch(/^invalid_(json|request)$/);
      expect(error).not.toHaveProperty('path');
    }
  });

  it('that are acceptable but wrong are told off for ever', async () => {
    const socket = await open();
    for (let i = 0; i < 10; i++)
      expect(await socket.ask({ type: 'get', job: i })).toMatchObject({
        type: 'error',
        error: { code: 'invalid_request' },
      });
    expect(await socket.ask({ type: 'ping' })).toMatchObject({ type: 'pong' });
  });

  it('are looked over before they are parsed, as bodies are', async () => {
    const deep = (levels: number) => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;
    const keys = (count: number) => `{${Array.from({ length: count }, (_, i) => `"k${i}":1`).join()}}`;
    const job = (input: string) => `{"type":"submit","ref":"r","job":{"model":"sim/chat","input":${input}}}`;
    const bad = [
      job(deep(64)),
      job(keys(10_001)),
      job('{"a":1,"a":2}'),
      job('{"__proto__":{}}'),
      job('{"a":"\\u0000"}'),
      job('{"a":"\\ud800"}'),
      job('{"a":1e400}'),
      '{"type":"ping","type":"ping","ref":"r"}',
      '{"type":"ping","ref":"r"}{}',
    ];
    for (const text of bad) {
      const socket = await open();
      socket.say(text);
      const { error, ref } = await socket.until(({ type }) => type === 'error');
      expect([error.code, ref, typeof error.details.offset], text.slice(0, 60)).toEqual([
        'invalid_json',
        null,
        'number',
      ]);
      socket.ws.terminate();
    }
    // As deep as a body may be: refused for its fields, not for its depth.
    const socket = await open();
    socket.say(job(deep(63)));
    expect((await socket.until(({ type }) => type === 'error')).error.code).toBe('invalid_request');
  });

  it('that are noise are survived', async () => {
    for (let i = 0; i < 20; i++) {
      const socket = await open();
      tcpOf(socket).write(randomBytes(200 + i * 20));
      await Promise.race([socket.closed, sleep(50)]);
      socket.ws.terminate();
    }
    expect(await (await open()).ask({ type: 'ping' })).toMatchObject({ type: 'pong' });
  });
});

describe('floods', () => {
  it.each(['messages', 'pings'])(
    'of %s are closed with 4429, and a steady fifty a second is not',
    async (what) => {
      const steady = await open();
      const socket = await open();
      const send = (i: number): void =>
        what === 'pings' ? socket.ws.ping() : socket.say({ type: 'ping', ref: `f${i}` });
      for (let i = 0; i < 300; i++) send(i);
      expect((await socket.closed).code).toBe(4429);
      expect(socket.messages.filter(({ type }) => type === 'pong').length).toBeLessThan(150);
      const from = performance.now();
      for (let i = 0; i < 100; i++) {
        steady.say({ type: 'ping', ref: `s${i}` });
        await sleep(Math.max(0, from + (i + 1) * 20 - performance.now()));
      }
      expect(await steady.until(({ ref }) => ref === 's99')).toMatchObject({ type: 'pong' });
    },
  );

  it('of jobs that wait are looked at no more often than a key may have them looked at', async () => {
    const one = await millrace.account();
    const { body } = await one.post<{ data: { job: { id: string } }[] }>('/v1/jobs/batch', {
      jobs: Array.from({ length: 900 }, () => chat()),
    });
    const ids = body.data.map(({ job }) => job.id);
    const opened = [await openSocket(millrace.url, one), await openSocket(millrace.url, one)] as const;
    sockets.push(...opened);
    for (let i = 0; i < 900; i += 100)
      await opened[i < 500 ? 0 : 1].ask({ type: 'subscribe', jobs: ids.slice(i, i + 100), after: 'now' });
    for (const [i, socket] of opened.entries()) {
      const caught = () => socket.messages.filter(({ type }) => type === 'caught_up').length;
      await expect.poll(caught, { timeout: 15_000 }).toBe(i === 0 ? 5 : 4);
    }
    const { client } = millrace.platform.ctx;
    let looks = 0;
    const count = (): void => void looks++;
    client.on('acquire', count);
    await sleep(6_000);
    client.off('acquire', count);
    // Each once a second would be 5,400.
    expect(looks).toBeLessThan(2_700);
    // What happens is told as ever.
    const last = ids[899] as string;
    await one.post(`/v1/jobs/${last}/cancel`);
    const at = performance.now();
    await opened[1].until(({ event }) => event?.type === 'job.canceled' && event.data.id === last);
    expect(performance.now() - at).toBeLessThan(4_000);
  }, 60_000);

  it('of long submissions are read only as they are answered, and none is lost', async () => {
    const socket = await open();
    const filler = 'x'.repeat(400_000);
    for (let i = 0; i < 45; i++)
      socket.say({
        type: 'submit',
        ref: `b${i}`,
        job: { model: 'sim/chat', input: { messages: [{ role: 'user', content: filler }], max_tokens: 1 } },
      });
    for (let i = 0; i < 45; i++)
      expect((await socket.until(({ ref }) => ref === `b${i}`)).type).toMatch(/^(job|error)$/);
    expect(await socket.ask({ type: 'ping' })).toMatchObject({ type: 'pong' });
  }, 60_000);
});

it('closes are counted by their codes, and frames as they are sent', async () => {
  const of = (code: number) => sample(millrace.url, `millrace_websocket_closes_total{code="${code}"}`);
  for (const code of [1009, 1007, 1002, 4400, 4429]) expect(await of(code), String(code)).toBeGreaterThan(0);
  const before = await sample(millrace.url, 'millrace_websocket_frames_total');
  const socket = await open();
  await socket.ask({ type: 'ping' });
  await account.submit(chat());
  await socket.close();
  await expect.poll(() => of(1005), { timeout: 5_000 }).toBeGreaterThan(0);
  // The greeting and the answer.
  expect((await sample(millrace.url, 'millrace_websocket_frames_total')) - before).toBe(2);
}, 10_000);
