// A client as a test writes one: real HTTP, nothing of Millrace inside.
import { Agent, request } from 'undici';
import { readEvents, type SseEvent } from './sse.ts';

export interface Answer<Body = Json> {
  status: number;
  headers: Record<string, string>;
  body: Body;
}

// biome-ignore: an answer may be anything
export type Json = any; // oxlint-disable-line typescript/no-explicit-any -- tests look into answers of every shape

export interface Client {
  get<Body = Json>(path: string, headers?: Record<string, string>): Promise<Answer<Body>>;
  post<Body = Json>(path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer<Body>>;
  /** Any method; a string or Buffer body is sent as it is. */
  send<Body = Json>(
    method: string,
    path: string,
    options?: { body?: unknown; headers?: Record<string, string> },
  ): Promise<Answer<Body>>;
  /** Submits, and answers the job. Throws unless it was accepted. */
  submit(job: Record<string, unknown>, headers?: Record<string, string>): Promise<Json>;
  /** Submits, waits for the end, answers the job. */
  run(job: Record<string, unknown>): Promise<Json>;
  /** Polls until it has ended. */
  ended(id: string): Promise<Json>;
  /** A stream, read to its end or until `until` says so. */
  events(
    path: string,
    options?: { lastEventId?: string; until?: (event: SseEvent) => boolean },
  ): Promise<SseEvent[]>;
}

const agent = new Agent({ connections: 256, pipelining: 1 });

export function openClient(url: string, key: string | null): Client {
  const auth: Record<string, string> = key === null ? {} : { authorization: `Bearer ${key}` };

  const send: Client['send'] = async (method, path, { body, headers = {} } = {}) => {
    const raw = typeof body === 'string' || Buffer.isBuffer(body);
    const response = await request(url + path, {
      method: method as 'GET',
      dispatcher: agent,
      headers: {
        ...auth,
        ...(body === undefined || raw ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: raw ? body : JSON.stringify(body) }),
    });
    const text = await response.body.text();
    const json = /\bjson\b/.test(String(response.headers['content-type']));
    return {
      status: response.statusCode,
      headers: response.headers as Record<string, string>,
      body: json && text !== '' ? JSON.parse(text) : text,
    };
  };

  const client: Client = {
    send,
    get: (path, headers = {}) => send('GET', path, { headers }),
    post: (path, body, headers = {}) => send('POST', path, { body, headers }),
    async submit(job, headers) {
      const answer = await client.post('/v1/jobs', job, headers);
      if (answer.status !== 202 && answer.status !== 200)
        throw new Error(`refused: ${answer.status} ${JSON.stringify(answer.body)}`);
      return answer.body;
    },
    async run(job) {
      const { id } = await client.submit(job);
      return client.ended(id as string);
    },
    async ended(id) {
      for (;;) {
        const { status, body } = await client.get(`/v1/jobs/${id}?wait=20`);
        if (status !== 200) throw new Error(`${status} ${JSON.stringify(body)}`);
        if (body.ended_at !== null) return body;
      }
    },
    async events(path, { lastEventId, until } = {}) {
      const seen: SseEvent[] = [];
      const resume: Record<string, string> =
        lastEventId === undefined ? {} : { 'last-event-id': lastEventId };
      for await (const event of readEvents(url + path, { ...auth, ...resume })) {
        seen.push(event);
        if (until?.(event)) break;
      }
      return seen;
    },
  };
  return client;
}

/** A small chat job. */
export function chat(content = 'Hello', rest: Record<string, unknown> = {}): Record<string, unknown> {
  return { model: 'sim/chat', input: { messages: [{ role: 'user', content }], ...rest } };
}
