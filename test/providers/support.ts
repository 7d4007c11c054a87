// What the tests of providers share: the simulator as a process of its own, servers that misbehave, and calls to make.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Call, Route } from '../../src/providers/provider.ts';
import { diesWithUs } from '../support/undertaker.ts';

const MAIN = fileURLToPath(new URL('../../src/providers/sim/main.ts', import.meta.url));

export interface Sim {
  url: string;
  calls(limit?: number): Promise<LoggedCall[]>;
  /** SIGTERM, and the exit that follows. */
  stop(): Promise<{ code: number | null }>;
}

export interface LoggedCall {
  job_id: string | null;
  account_id: string | null;
  attempt: number | null;
  started_at: string;
  ended_at: string | null;
  kind: string;
  outcome: string | null;
  billed: boolean;
  started_ns: string;
  ended_ns: string | null;
}

export async function startSim(): Promise<Sim> {
  const child = spawn(process.execPath, [MAIN], { stdio: ['ignore', 'pipe', 'inherit'] });
  diesWithUs(child);
  const exited = once(child, 'exit');
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  const { sim_url: url } = JSON.parse(line) as { sim_url: string };
  return {
    url,
    calls: async (limit = 10_000) =>
      (await (await fetch(`${url}/calls?limit=${limit}`)).json()) as LoggedCall[],
    stop: async () => {
      child.kill('SIGTERM');
      const [code] = (await exited) as [number | null];
      return { code };
    },
  };
}

/** Asks again and again until there is an answer: for facts in another process that announce themselves to nobody. */
export async function until<T>(ask: () => Promise<T | null | undefined | false>): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    await sleep(5);
  }
}

export interface TestServer {
  /** With the path `/v1`, as routes have it. */
  baseUrl: string;
  /** Connections that are open. */
  sockets: Set<Socket>;
  onConnection(seen: () => void): void;
  close(): Promise<void>;
}

export const httpServer = (listener: RequestListener): Promise<TestServer> =>
  listening(createHttpServer(listener));

/** A server of bytes: `respond` is called for each whole request, body included. */
export function rawServer(respond: (socket: Socket, request: string) => void): Promise<TestServer> {
  return listening(
    createTcpServer((socket) => {
      let text = '';
      let whole = Infinity;
      socket.on('error', () => {});
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1');
        const head = whole === Infinity ? text.indexOf('\r\n\r\n') : -1;
        if (head >= 0) whole = head + 4 + Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
        if (text.length < whole) return;
        const request = text;
        [text, whole] = ['', Infinity];
        respond(socket, request);
      });
    }),
  );
}

async function listening(server: Server): Promise<TestServer> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    sockets,
    onConnection: (seen) => void server.on('connection', seen),
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

export const route = (baseUrl = 'http://unused.invalid/v1', apiKey: string | null = null): Route => ({
  id: 'route_1',
  provider: 'sim',
  upstreamModel: 'upstream-model',
  baseUrl,
  apiKey,
  data: {},
  timed: false,
});

let jobs = 0;

/** A call of a job of its own, with whatever is said otherwise. `input` is a value or JSON text. */
export function callOf(kind: Call['kind'], input: unknown, rest: Partial<Call> = {}): Call {
  return {
    kind,
    input: typeof input === 'string' ? input : JSON.stringify(input),
    accountId: 'acc_test',
    jobId: `job_test${++jobs}`,
    attempt: 1,
    bounds: {},
    artifact: null,
    signal: new AbortController().signal,
    onDelta: () => {},
    onRemoteId: async () => {},
    callbackUrl: null,
    pause: (ms) => sleep(ms),
    tell: () => {},
    ...rest,
  };
}

export const hello = { messages: [{ role: 'user', content: 'Good morning, miller. Is the flour ready?' }] };
