import createFetchClient, { type Client as ApiClient } from 'openapi-fetch';
import { MillraceError, type ErrorBody } from './errors.ts';
import type { Job, JobMessage, Submission } from './events.ts';
import { type Fetch, retrying } from './retry.ts';
import type { paths } from './schema.ts';
import type { WebSocketClass } from './socket.ts';
import { type StreamOptions, streamJob } from './stream.ts';
import { type Heard, subscribe, type SubscribeOptions } from './subscribe.ts';

export interface ClientOptions {
  /** Root of the API, for example `https://api.example.com`. */
  baseUrl: string;
  /** May be left out where only tickets are used, as in a browser. Never ship a key to a browser. */
  apiKey?: string;
  /** How often a request or a broken connection is tried in a row. Default 5. */
  tries?: number;
  fetch?: Fetch;
  /** Default: the platform's own, which Node has from 22 on. */
  WebSocket?: WebSocketClass;
}

export interface SubmitOptions {
  /** Makes a repeat the same job. Default: a fresh one, which covers this call's own retries. */
  idempotencyKey?: string;
  /** Wait so long for the end, to 60 s; the job comes back as it is then. */
  waitSeconds?: number;
  signal?: AbortSignal;
}

export interface Client {
  /** Every route of the API, typed: `api.GET('/v1/models')`. Answers `{data}` or `{error}`, throws when there is no answer. */
  api: ApiClient<paths>;
  /** Submits a job, safely: a lost answer is asked for again under the same key. @throws MillraceError */
  submit(job: Submission, options?: SubmitOptions): Promise<Job>;
  /** The job once it has ended, however it did. @throws MillraceError, or the signal's reason */
  wait(jobId: string, options?: { signal?: AbortSignal }): Promise<Job>;
  /** What a job says as it happens, a chat's words (`job.delta`) too. Ends with the job. */
  stream(jobId: string, options?: StreamOptions): AsyncGenerator<JobMessage>;
  /** What happens on the account, from a number on, until the signal. */
  subscribe(options?: SubscribeOptions): AsyncGenerator<Heard>;
}

export function createClient({
  baseUrl,
  apiKey,
  tries = 5,
  fetch = (request) => globalThis.fetch(request),
  WebSocket = globalThis.WebSocket as unknown as WebSocketClass,
}: ClientOptions): Client {
  const root = baseUrl.replace(/\/+$/, '');
  const headers: Record<string, string> = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
  const api = createFetchClient<paths>({ baseUrl: root, headers, fetch: retrying(fetch, tries) });
  const channel = {
    tries,
    get: (path: string, { accept, lastId, signal }: Parameters<typeof streamOnce>[1]) =>
      streamOnce(path, { accept, lastId, ...(signal && { signal }) }),
  };
  function streamOnce(
    path: string,
    { accept, lastId, signal }: { accept: string; lastId: string | null; signal?: AbortSignal },
  ): Promise<Response> {
    const resume: Record<string, string> = lastId === null ? {} : { 'last-event-id': lastId };
    return fetch(
      new Request(root + path, { headers: { ...headers, ...resume, accept }, ...(signal && { signal }) }),
    );
  }

  const jobOf = async (id: string, signal?: AbortSignal): Promise<Job> =>
    must(await api.GET('/v1/jobs/{id}', { params: { path: { id } }, ...(signal && { signal }) })) as Job;

  return {
    api,
    async submit(job, { idempotencyKey = crypto.randomUUID(), waitSeconds, signal } = {}) {
      const answer = await api.POST('/v1/jobs', {
        params: {
          header: { 'idempotency-key': idempotencyKey },
          query: waitSeconds === undefined ? {} : { wait: waitSeconds },
        },
        body: job,
        ...(signal && { signal }),
      });
      return must(answer) as Job;
    },
    async wait(jobId, { signal } = {}) {
      for await (const _ of streamJob(channel, jobId, { ...(signal && { signal }) }));
      return jobOf(jobId, signal);
    },
    stream: (jobId, options = {}) => streamJob(channel, jobId, options),
    subscribe(options = {}) {
      if (!WebSocket)
        throw new Error('There is no WebSocket here: give createClient one, such as that of "ws".');
      const ticket = async (signal?: AbortSignal): Promise<string> => {
        const body = { jobs: 'all' as const, expires_in_s: 60 };
        const { ticket } = must(await api.POST('/v1/tickets', { body, ...(signal && { signal }) })) as {
          ticket: string;
        };
        return ticket;
      };
      const url = `${root.replace(/^http/, 'ws')}/v1/ws`;
      return subscribe({ WebSocket, url, ticket, tries }, options);
    },
  };
}

/** What an answer brought. @throws MillraceError if it was a refusal */
function must<T>({ data, error, response }: { data?: T; error?: unknown; response: Response }): T {
  if (data !== undefined && response.ok) return data;
  throw new MillraceError(response.status, (error ?? {}) as Partial<ErrorBody>);
}
