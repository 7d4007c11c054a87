// Millrace's public API as a client sees it: HTTP, JSON and server-sent events, nothing of Millrace's own code.

export interface Money {
  credits: number;
  usd: string;
}

/** Of GET /v1/jobs/:id, what the demo looks at. */
export interface Job {
  id: string;
  model: string;
  status: 'queued' | 'running' | 'succeeded' | 'failed' | 'canceled' | 'expired';
  output: unknown;
  error: { code: string; message: string } | null;
  hold: Money;
  cost: Money | null;
  created_at: string;
  started_at: string | null;
  ended_at: string | null;
}

/** Of GET /v1/artifacts/:id. */
export interface Artifact {
  id: string;
  content_type: string;
  bytes: number;
  sha256: string;
  width: number | null;
  height: number | null;
  duration_ms: number | null;
}

export interface Client {
  get<Body>(path: string): Promise<Body>;
  post<Body>(path: string, body: unknown): Promise<Body>;
  bytes(path: string): Promise<Buffer>;
  /** A live channel, from after `lastId` on. Null: it has nothing more to say. */
  stream(path: string, lastId: string | null): Promise<AsyncIterable<string> | null>;
}

/** The platform said no, in one line. */
export class Refusal extends Error {
  override name = 'Refusal';
}

/** @param options.signal ends every request under way */
export function openClient(url: string, options: { key: string; signal: AbortSignal }): Client {
  const send = async (method: string, path: string, more: RequestInit = {}): Promise<Response> => {
    const headers = { authorization: `Bearer ${options.key}`, ...more.headers };
    let response: Response;
    try {
      response = await fetch(url + path, { ...more, method, headers, signal: options.signal });
    } catch (error) {
      options.signal.throwIfAborted();
      throw new Error(`${method} ${path} got no answer from ${url}: ${reasonOf(error)}`, { cause: error });
    }
    if (response.ok) return response;
    const text = await response.text();
    throw new Refusal(`${method} ${path} was refused with ${response.status}: ${wordsOf(text)}`);
  };
  return {
    get: async <Body>(path: string) => (await (await send('GET', path)).json()) as Body,
    async post<Body>(path: string, body: unknown) {
      const headers = { 'content-type': 'application/json' };
      return (await (await send('POST', path, { headers, body: JSON.stringify(body) })).json()) as Body;
    },
    bytes: async (path) => Buffer.from(await (await send('GET', path)).arrayBuffer()),
    async stream(path, lastId) {
      const resume: Record<string, string> = lastId === null ? {} : { 'last-event-id': lastId };
      const response = await send('GET', path, { headers: { accept: 'text/event-stream', ...resume } });
      return response.status === 204 || !response.body
        ? null
        : response.body.pipeThrough(new TextDecoderStream());
    },
  };
}

/** fetch() itself only says that it failed. */
function reasonOf(error: unknown): string {
  const { cause, message } = error as Error & { cause?: { message?: string; code?: string } };
  return cause?.message || cause?.code || message;
}

function wordsOf(body: string): string {
  try {
    const { message, code } = JSON.parse(body) as { message: string; code: string };
    return `${message} (${code})`;
  } catch {
    return body.slice(0, 200);
  }
}
