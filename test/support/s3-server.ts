// An S3 server of our own, in memory, on a real socket: path style, and every request must be signed as AWS wants it.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bucket } from './s3/bucket.ts';
import { S3Refusal } from './s3/fault.ts';
import { escape, perform, type S3Answer } from './s3/operations.ts';
import { payloadOf } from './s3/payload.ts';
import { type Credentials, verify } from './s3/signature.ts';

export interface S3Call {
  method: string;
  /** Without the bucket. */
  key: string;
  query: URLSearchParams;
  headers: Record<string, string>;
}

export interface Misbehaviour {
  on(call: S3Call): boolean;
  /** So often; else always. */
  times?: number;
  /**
   * `slow_down`, `error`: 503 and 500. `reset`: the connection, before an answer. `cut`: the connection, in the middle of the
   * answer's body. `truncate`: the same, politely. `stall`: half a body, and then nothing. `hang`: no answer. A number: that
   * many milliseconds later.
   */
  how: 'slow_down' | 'error' | 'reset' | 'cut' | 'truncate' | 'stall' | 'hang' | number;
}

export interface S3Server extends Credentials {
  url: string;
  /** There from the start. */
  bucket: string;
  /** What it holds. @param name the first one, if none is given */
  contents(name?: string): Bucket;
  /** Requests so far, oldest first. */
  calls: S3Call[];
  misbehave(how: Misbehaviour): void;
  behave(): void;
  /** What a Millrace needs to know of it. The keys are for the AWS SDK, which reads the process's own environment. */
  env: Record<string, string>;
  /** Ends every connection. The contents stay for `start`. */
  stop(): Promise<void>;
  /** Once more, on the same port. */
  start(): Promise<void>;
}

export interface S3ServerOptions {
  port?: number;
  pageSize?: number;
  buckets?: string[];
}

const CREDENTIALS = {
  accessKeyId: 'AKIDMILLRACETEST',
  secretAccessKey: 'a secret+of/tests',
  region: 'eu-mill-1',
};

export async function startS3Server({
  port = 0,
  pageSize = 1_000,
  buckets: names = ['millrace-test'],
}: S3ServerOptions = {}): Promise<S3Server> {
  const buckets = new Map(names.map((name) => [name, new Bucket()]));
  const calls: S3Call[] = [];
  let faults: (Misbehaviour & { left: number })[] = [];
  const bucketOf = (name: string): Bucket => {
    const bucket = buckets.get(name);
    if (!bucket) throw new S3Refusal('NoSuchBucket');
    return bucket;
  };
  const faultFor = (call: S3Call): Misbehaviour['how'] | null => {
    const fault = faults.find((one) => one.left > 0 && one.on(call));
    if (!fault) return null;
    fault.left -= 1;
    return fault.how;
  };

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams: query } = new URL(request.url ?? '/', 'http://any');
    const [, name = '', rest = ''] = /^\/([^/]*)\/?(.*)$/s.exec(pathname) ?? [];
    const method = request.method ?? '';
    const headers = Object.fromEntries(
      Object.entries(request.headers).map(([key, value]) => [key, String(value)]),
    );
    const call = { method, key: decodeURIComponent(rest), query, headers };
    calls.push(call);
    const how = faultFor(call);
    if (how === 'hang') return;
    if (how === 'reset') {
      if (method === 'PUT') await once(request, 'data');
      return void request.socket.resetAndDestroy();
    }
    if (typeof how === 'number') await sleep(how);
    const raw = await buffer(request);
    const done = attempt(() => {
      if (how === 'slow_down') throw new S3Refusal('SlowDown', 'Please reduce your request rate.');
      if (how === 'error') throw new S3Refusal('InternalError');
      const signedHash = verify({ method, path: pathname, query, headers }, CREDENTIALS);
      const body = payloadOf(raw, signedHash, { headers, query });
      // A bucket that is to be made is none yet.
      if (method === 'PUT' && rest === '' && !buckets.has(name)) {
        buckets.set(name, new Bucket());
        return { status: 200 };
      }
      return perform({ ...call, bucket: bucketOf(name), bucketOf, body, pageSize });
    });
    await send(response, { method, done, how: typeof how === 'string' ? how : null });
  }

  const server = createServer((request, response) => {
    answer(request, response).catch(() => request.socket.destroy());
  });
  const listen = async (at: number): Promise<void> => {
    server.listen(at, '127.0.0.1');
    await once(server, 'listening');
  };
  await listen(port);
  const { port: bound } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${bound}`;
  const bucket = names[0] as string;
  return {
    ...CREDENTIALS,
    url,
    bucket,
    contents: (name = bucket) => bucketOf(name),
    calls,
    misbehave: (how) => void faults.push({ ...how, left: how.times ?? Number.POSITIVE_INFINITY }),
    behave: () => void (faults = []),
    env: {
      S3_BUCKET: bucket,
      S3_ENDPOINT: url,
      S3_REGION: CREDENTIALS.region,
      AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
    },
    async stop() {
      server.closeAllConnections();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
    start: () => listen(bound),
  };
}

function attempt(work: () => S3Answer): S3Answer {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof S3Refusal)) throw error;
    const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${error.code}</Code><Message>${escape(error.message)}</Message></Error>`;
    return { status: error.status, headers: { 'content-type': 'application/xml' }, body };
  }
}

async function send(
  response: ServerResponse,
  { method, done, how }: { method: string; done: S3Answer; how: string | null },
): Promise<void> {
  const body = Buffer.from(done.body ?? '');
  response.writeHead(done.status, {
    ...done.headers,
    'content-length': done.status === 204 ? 0 : body.length,
  });
  if (method === 'HEAD') return void response.end();
  if (how !== 'cut' && how !== 'truncate' && how !== 'stall') return void response.end(body);
  const half = body.subarray(0, Math.floor(body.length / 2));
  await new Promise((resolve) => response.write(half, resolve));
  if (how === 'cut') response.socket?.resetAndDestroy();
  if (how === 'truncate') response.socket?.end();
}
