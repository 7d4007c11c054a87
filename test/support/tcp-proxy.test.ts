import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { startTcpProxy, type TcpProxy, type Trouble } from './tcp-proxy.ts';

let echo: Server;
let proxy: TcpProxy;
beforeEach(async () => {
  echo = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  echo.listen(0, '127.0.0.1');
  await once(echo, 'listening');
});
afterEach(async () => {
  await proxy.close();
  echo.close();
});

const start = async (trouble: Trouble = {}): Promise<void> => {
  proxy = await startTcpProxy(`tcp://127.0.0.1:${(echo.address() as AddressInfo).port}`, {
    seed: 7,
    trouble,
  });
};

/** Sends, and gathers what comes until the end or the cut. */
async function talk(text: string): Promise<{ heard: string; ms: number }> {
  const from = performance.now();
  const socket: Socket = connect(proxy.port, '127.0.0.1');
  socket.end(text);
  let heard = '';
  try {
    for await (const bytes of socket) heard += String(bytes);
  } catch {
    // Cut.
  }
  return { heard, ms: performance.now() - from };
}

const LONG = 'abcdefghij'.repeat(10_000);

it('passes everything on, and the end', async () => {
  await start();
  expect((await talk(LONG)).heard).toBe(LONG);
  expect(proxy).toMatchObject({ cuts: 0 });
});

it('cuts after so many bytes, at other places each time, the same with the same seed', async () => {
  const lengths: number[][] = [];
  for (let run = 0; run < 2; run++) {
    if (run > 0) await proxy.close();
    await start({ cutAfter: [100, 5_000] });
    const heard = [];
    for (let i = 0; i < 12; i++) heard.push((await talk(LONG)).heard);
    for (const text of heard) expect(LONG.startsWith(text)).toBe(true);
    expect(proxy.cuts).toBe(12);
    lengths.push(heard.map((text) => text.length).filter((length) => length > 0));
  }
  const [first = [], second = []] = lengths;
  for (const length of [...first, ...second]) expect(length).toBeLessThanOrEqual(5_000);
  expect(new Set(first).size).toBeGreaterThan(3);
  // A reset may swallow what was under way, so that not every length is seen in both runs.
  expect(second.filter((length) => first.includes(length)).length).toBeGreaterThan(3);
});

it('delays and throttles', async () => {
  await start({ delayMs: 60 });
  expect((await talk('x')).ms).toBeGreaterThanOrEqual(119);
  proxy.trouble({ bytesPerSecond: 20_000 });
  expect((await talk('y'.repeat(4_096))).ms).toBeGreaterThanOrEqual(200);
});

it('swallows while it is told to, then delivers', async () => {
  await start({ blackHole: true });
  let over = false;
  const answer = talk('late').then((heard) => {
    over = true;
    return heard;
  });
  while (proxy.open === 0) await sleep(5);
  await sleep(100);
  expect(over).toBe(false);
  proxy.trouble({});
  expect((await answer).heard).toBe('late');
});

it('refuses, and cuts what is open', async () => {
  await start({ refuse: true });
  expect((await talk('x')).heard).toBe('');
  proxy.trouble({ blackHole: true });
  const held = talk('x');
  while (proxy.open === 0) await sleep(5);
  expect(proxy.cutAll()).toBe(1);
  expect((await held).heard).toBe('');
});
