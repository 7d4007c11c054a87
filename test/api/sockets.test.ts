// Connections that hold on, dawdle or do not listen: they cost nobody else, and end.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Answer } from '../support/client.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { expectRefusal, parseAnswer } from '../support/refusal.ts';

let millrace: TestPlatform;
let account: TestAccount;
beforeAll(async () => {
  millrace = await startPlatform({ worker: false });
  account = await millrace.account();
});
afterAll(() => millrace.stop());

/** A connection that has said so much and says no more. Resolves with what it was told once it is closed. */
async function dawdle(
  said: string,
): Promise<{ socket: Socket; text: Promise<string>; told: Promise<Answer | null> }> {
  const { hostname, port } = new URL(millrace.url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  let heard = '';
  socket.on('data', (chunk) => (heard += chunk.toString('latin1')));
  const text = new Promise<string>((resolve) => socket.on('close', () => resolve(heard)));
  const told = text.then(parseAnswer);
  await once(socket, 'connect');
  socket.write(said);
  return { socket, text, told };
}

async function slowestOf(count: number): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const began = performance.now();
    expect((await account.get('/v1/account')).status).toBe(200);
    times.push(performance.now() - began);
  }
  return times.toSorted((a, b) => a - b)[Math.floor(count * 0.99)] as number;
}

it('five hundred half-open connections slow nobody down, and are closed with a word', async () => {
  await slowestOf(50);
  const alone = await slowestOf(200);
  const key = `authorization: Bearer ${account.key}\r\n`;
  const saids = [
    'GET /v1/acc',
    `GET /v1/account HTTP/1.1\r\nhost: x\r\n${key}`,
    'POST /v1/jobs HTTP/1.1\r\nhost: x\r\nx-slow: ',
    `POST /v1/jobs HTTP/1.1\r\nhost: x\r\n${key}content-type: application/json\r\ncontent-length: 1000\r\n\r\n{`,
    `POST /v1/artifacts HTTP/1.1\r\nhost: x\r\n${key}content-type: multipart/form-data; boundary=x\r\ncontent-length: 1000\r\n\r\n--x`,
  ];
  const held = await Promise.all(Array.from({ length: 500 }, (_, i) => dawdle(saids[i % 5] as string)));
  const beside = await slowestOf(200);
  // A bound that only a stall would break: both were measured on the same busy machine.
  expect(beside).toBeLessThan(Math.max(250, alone * 10));
  // Heads that never end are given up soon; bodies may take longer, and are cut off here.
  for (const [i, { told }] of held.entries()) {
    if (i % 5 > 2) continue;
    const answer = await told;
    expect(answer, `${saids[i % 5]}`).not.toBeNull();
    expectRefusal(answer as Answer, 'request_timeout');
  }
  for (const { socket } of held) socket.destroy();
  expect((await account.get('/v1/account')).status).toBe(200);
}, 60_000);

it('a client that sends all of too much before it listens still hears why', async () => {
  const size = 24 << 20;
  const said =
    `POST /v1/jobs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${account.key}\r\n` +
    `content-type: application/json\r\ncontent-length: ${size}\r\n\r\n`;
  const { socket, text } = await dawdle(said);
  socket.pause();
  for (let sent = 0; sent < size; sent += 1 << 20) {
    if (!socket.write(Buffer.alloc(1 << 20, 32))) await once(socket, 'drain');
  }
  socket.resume();
  await expect.poll(() => socket.bytesRead, { timeout: 20_000 }).toBeGreaterThan(0);
  // What it sent was read to its end, so the connection is good for another request.
  socket.write('GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
  const [first = '', second = ''] = (await text).split(/(?=HTTP\/1\.1 )/);
  expectRefusal(parseAnswer(first) as Answer, 'body_too_large');
  expect(parseAnswer(second)?.status).toBe(200);
}, 30_000);

it('a second answer never follows the first', async () => {
  // The body of the first request is broken after its head was answered.
  const { told } = await dawdle(
    'POST /v1/jobs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n',
  );
  const answer = (await told) as Answer;
  expect(answer.status).toBeGreaterThanOrEqual(400);
  expect(Buffer.byteLength(JSON.stringify(answer.body))).toBe(Number(answer.headers['content-length']));
});

it('connections that are kept and say nothing wait without a word', async () => {
  const { socket, told } = await dawdle('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n');
  await expect.poll(() => socket.bytesRead).toBeGreaterThan(0);
  const read = socket.bytesRead;
  await slowestOf(50);
  expect([socket.bytesRead, socket.destroyed]).toEqual([read, false]);
  socket.destroy();
  expect((await told)?.status).toBe(200);
});
