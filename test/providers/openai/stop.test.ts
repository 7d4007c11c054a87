import { once } from 'node:events';
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { callOf, hello, rawServer, route } from '../support.ts';
import { opened, provider, stream, word } from './bad-server.ts';

describe('a call that is stopped', () => {
  it('before it began touches nothing', async () => {
    const server = await opened(rawServer(() => {}));
    const result = await provider().call(
      route(server.baseUrl),
      callOf('chat', hello, { signal: AbortSignal.abort() }),
    );
    expect(result).toMatchObject({ type: 'stopped', text: '', usage: null, evidence: { sent: false } });
    expect(server.sockets.size).toBe(0);
  });

  it('while it connects never sends a request', async () => {
    const requests: string[] = [];
    const server = await opened(rawServer((_, request) => requests.push(request)));
    const calls = provider();
    const controller = new AbortController();
    const pending = calls.call(route(server.baseUrl), callOf('chat', hello, { signal: controller.signal }));
    controller.abort();
    expect(await pending).toMatchObject({ type: 'stopped', evidence: { sent: false } });
    // The next call of the same provider goes through all the same, and is the only one that is seen.
    void calls.call(route(server.baseUrl), callOf('chat', hello, { jobId: 'job_second' }));
    while (requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(requests.map((request) => /idempotency-key: (\S+)/.exec(request)?.[1])).toEqual(['job_second-1']);
  });

  it('in the middle has its socket closed at once and keeps what had come', async () => {
    let socket: Socket | null = null;
    const server = await opened(
      rawServer((from) => {
        socket = from;
        from.write(stream(word('some') + word(' words')));
      }),
    );
    const controller = new AbortController();
    let closed: Promise<unknown> | null = null;
    const onDelta = (delta: string): void => {
      if (!delta.includes('words')) return;
      closed = once(socket!, 'close');
      controller.abort();
    };
    const result = await provider().call(
      route(server.baseUrl),
      callOf('chat', hello, { signal: controller.signal, onDelta }),
    );
    expect(result).toMatchObject({
      type: 'stopped',
      text: 'some words',
      usage: null,
      evidence: { sent: true, http_status: 200 },
    });
    await closed;
  });

  it('reports the usage that the vendor had named', async () => {
    const controller = new AbortController();
    const used =
      'data: {"choices":[{"index":0,"delta":{"content":"!"}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n';
    const server = await opened(rawServer((socket) => void socket.write(stream(word('a') + used))));
    const onDelta = (delta: string): void => void (delta.includes('!') && controller.abort());
    expect(
      await provider().call(
        route(server.baseUrl),
        callOf('chat', hello, { signal: controller.signal, onDelta }),
      ),
    ).toMatchObject({
      type: 'stopped',
      usage: [{ quantity: 1 }, { quantity: 2 }],
    });
  });
});
