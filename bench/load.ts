// A load generator that costs little: one socket a loop, prepared requests, answers read no further than needed.
import { connect, type Socket } from 'node:net';

export interface Shot {
  path: string;
  body: string;
  headers?: Record<string, string>;
}

export interface LoadResult {
  /** Answers by HTTP status. */
  statuses: Map<number, number>;
  /** Milliseconds of each request, in no order. */
  latencies: Float64Array;
  seconds: number;
}

/** Sends `shots` from so many loops, each waiting for its answer before it sends the next. */
export async function shoot(
  url: string,
  { shots, loops, key }: { shots: Shot[]; loops: number; key: string | ((i: number) => string) },
): Promise<LoadResult> {
  const { hostname, port } = new URL(url);
  const latencies = new Float64Array(shots.length);
  const statuses = new Map<number, number>();
  let next = 0;
  const started = performance.now();
  const loop = async (): Promise<void> => {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    const reader = new AnswerReader(socket);
    try {
      for (let i = next++; i < shots.length; i = next++) {
        const shot = shots[i] as Shot;
        const sent = performance.now();
        socket.write(
          requestText(shot, { host: `${hostname}:${port}`, key: typeof key === 'string' ? key : key(i) }),
        );
        const status = await reader.next();
        latencies[i] = performance.now() - sent;
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
    } finally {
      socket.destroy();
    }
  };
  await Promise.all(Array.from({ length: loops }, loop));
  return { statuses, latencies, seconds: (performance.now() - started) / 1000 };
}

function requestText(
  { path, body, headers = {} }: Shot,
  { host, key }: { host: string; key: string },
): string {
  const extra = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return (
    `POST ${path} HTTP/1.1\r\nhost: ${host}\r\nauthorization: Bearer ${key}\r\ncontent-type: application/json\r\n` +
    `content-length: ${Buffer.byteLength(body)}\r\n${extra.join('')}\r\n${body}`
  );
}

/** Finds where answers end by their content-length. */
class AnswerReader {
  #bytes: Buffer = Buffer.alloc(0);
  #resolve: ((status: number) => void) | null = null;
  #reject: ((error: Error) => void) | null = null;

  constructor(socket: Socket) {
    socket.on('data', (chunk: Buffer) => {
      this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
      this.#look();
    });
    socket.on('error', (error) => this.#reject?.(error));
    socket.on('close', () => this.#reject?.(new Error('the server closed the connection')));
  }

  next(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  #look(): void {
    const head = this.#bytes.indexOf('\r\n\r\n');
    if (head < 0) return;
    const text = this.#bytes.toString('latin1', 0, head);
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
    if (this.#bytes.length < head + 4 + length) return;
    this.#bytes = this.#bytes.subarray(head + 4 + length);
    this.#resolve?.(Number(text.slice(9, 12)));
  }
}

export function percentile(values: Float64Array, p: number): number {
  const sorted = values.toSorted();
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? 0;
}

export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
