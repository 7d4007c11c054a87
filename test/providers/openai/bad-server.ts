// A provider under test and servers that it will regret to have met; all closed after each test.
import { afterEach } from 'vitest';
import { openaiProvider } from '../../../src/providers/openai/index.ts';
import type { Call, CallResult, Provider } from '../../../src/providers/provider.ts';
import { callOf, hello, rawServer, route, type TestServer } from '../support.ts';

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const thing of open.splice(0).toReversed()) await thing.close();
});

export const provider = (limits: { totalMs?: number; idleMs?: number } = {}): Provider => {
  const made = openaiProvider(limits);
  open.push(made);
  return made;
};

export const opened = async (server: Promise<TestServer>): Promise<TestServer> => {
  open.push(await server);
  return server;
};

export const KEY = 'sk-mill-0123456789abcdef';

/** One call against a server that writes these bytes to each whole request and then does what `after` says. */
export async function answered(
  response: string | Buffer,
  after: 'keep' | 'end' | 'destroy' = 'end',
  rest: Partial<Call> = {},
): Promise<CallResult> {
  const server = await opened(
    rawServer((socket) => {
      if (after === 'destroy') return void socket.write(response, () => socket.destroy());
      socket.write(response);
      if (after === 'end') socket.end();
    }),
  );
  return provider(after === 'keep' ? { idleMs: 200 } : {}).call(
    route(server.baseUrl, KEY),
    callOf('chat', hello, rest),
  );
}

export const answer = (status: number, body: string, headers = ''): string =>
  `HTTP/1.1 ${status} X\r\ncontent-type: application/json\r\n${headers}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
export const stream = (body: string): string =>
  `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n${body}`;
export const word = (content: string, finish: string | null = null): string =>
  `data: {"choices":[{"index":0,"delta":{"content":"${content}"},"finish_reason":${JSON.stringify(finish)}}]}\n\n`;

export const failure = (code: string, retryable: boolean, rest: object = {}) => ({
  type: 'failed',
  code,
  retryable,
  ...rest,
});
