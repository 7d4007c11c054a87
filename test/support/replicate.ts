// A server of Replicate's dialect that does what a test plans, and keeps a record of all it was asked. Real HTTP, so that what
// a client does with a lost answer is done with a lost answer.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { draw } from './replicate-files.ts';

/** What becomes of one submit, and of the work that it begins. */
export interface Plan {
  /**
   * `lost`: the work begins, and the socket is destroyed before an answer. `cut`: in the middle of it. `hang`: no answer, the work
   * begins. A number: that status; with `begins` the work begins all the same.
   */
  submit?: 'ok' | 'lost' | 'cut' | 'hang' | number;
  begins?: boolean;
  /** Ms from the submit until it is done. */
  workMs?: number;
  /** Statuses that polls are told before it is done, in turn; the last goes on. */
  statuses?: string[];
  /** Polls that fail before any is answered: `drop` the socket, or a status; 429 asks for a pause of 1 s. */
  polls?: ('drop' | number)[];
  ends?: 'succeeded' | 'failed' | 'canceled' | 'aborted';
  output?: unknown;
  error?: string;
  predictTime?: number;
  /** Counted by a language model: of input, of output. */
  tokens?: [number, number];
  /** When the callback is sent: never by default. `early`: while it goes on, once. */
  callback?: 'never' | 'done' | 'early' | 'both';
  /** `deaf`: a cancel is answered, and the work goes on. */
  cancel?: 'ok' | 'deaf';
  /** The list does not show its webhook, or not it at all. */
  unlisted?: boolean;
}

export interface Submit {
  path: string;
  headers: IncomingMessage['headers'];
  body: {
    input: Record<string, unknown>;
    version?: string;
    webhook?: string;
    webhook_events_filter?: string[];
  };
  /** Null: no work was begun. */
  id: string | null;
}

export interface Work {
  id: string;
  plan: Plan;
  submit: Submit;
  beganAt: number;
  status: string;
  polls: number;
}

export interface FakeReplicate {
  /** Root of its API. */
  url: string;
  origin: string;
  submits: Submit[];
  works: Map<string, Work>;
  /** Ids whose cancel was asked, as often as it was. */
  cancels: string[];
  /** What was fetched of its files, with the Authorization that came along. */
  fetched: { path: string; authorization: string | undefined }[];
  /** Audio that was uploaded. */
  uploads: Buffer[];
  callbacks: { url: string; status: number }[];
  /** For the next submit; without one, `usual`. */
  plan(...plans: Plan[]): void;
  usual: Plan;
  /** Sends a webhook, as if the work of that id had moved on. */
  callBack(id: string): Promise<number>;
  close(): Promise<void>;
}

let made = 0;

export async function startReplicate(): Promise<FakeReplicate> {
  const plans: Plan[] = [];
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const fake: FakeReplicate = {
    url: `${origin}/v1`,
    origin,
    submits: [],
    works: new Map(),
    cancels: [],
    fetched: [],
    uploads: [],
    callbacks: [],
    plan: (...more) => void plans.push(...more),
    usual: {},
    async callBack(id) {
      const work = fake.works.get(id)!;
      const url = work.submit.body.webhook!;
      const { status } = await fetch(url, { method: 'POST', body: JSON.stringify(shown(work)) });
      fake.callbacks.push({ url, status });
      return status;
    },
    async close() {
      for (const { timer } of timers) clearTimeout(timer);
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  const timers = new Set<{ timer: NodeJS.Timeout }>();
  const after = (ms: number, act: () => void): void => {
    const own = { timer: setTimeout(() => (timers.delete(own), act()), ms) };
    timers.add(own);
  };

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await bytesOf(request);
    const path = new URL(request.url ?? '/', origin).pathname;
    const route = `${request.method} ${path}`;
    if (request.method === 'GET' && path.startsWith('/files/')) return file(path, request, response);
    if (request.headers.authorization !== 'Bearer r8-key')
      return json(response, 401, { title: 'Unauthenticated', detail: 'You did not pass a valid token' });
    if (route === 'POST /v1/files') {
      fake.uploads.push(body);
      return json(response, 201, { id: 'file_1', urls: { get: `${origin}/v1/files/file_1` } });
    }
    if (request.method === 'POST' && /^\/v1\/((models|deployments)\/[^/]+\/[^/]+\/)?predictions$/.test(path))
      return submit(path, request, { response, body });
    if (route === 'GET /v1/predictions') return list(request, response);
    const [, id = '', cancel] = /^\/v1\/predictions\/(\w+)(\/cancel)?$/.exec(path) ?? [];
    const work = fake.works.get(id);
    if (!work || (request.method === 'POST') !== (cancel !== undefined))
      return json(response, 404, { detail: 'The requested resource could not be found.' });
    if (cancel !== undefined) {
      fake.cancels.push(id);
      if (work.plan.cancel !== 'deaf' && !isOver(work)) work.status = 'canceled';
      return json(response, 200, shown(work));
    }
    const trouble = work.plan.polls?.[work.polls];
    work.polls += 1;
    if (trouble === 'drop') return void request.socket.destroy();
    if (trouble !== undefined) return json(response, trouble, { detail: 'trouble' });
    return json(response, 200, shown(work));
  }

  function submit(
    path: string,
    { headers, socket }: IncomingMessage,
    { response, body }: { response: ServerResponse; body: Buffer },
  ): void {
    const plan = plans.shift() ?? fake.usual;
    const { submit: how = 'ok', begins = typeof how === 'string' } = plan;
    const id = begins ? `p${(++made).toString().padStart(25, '0')}` : null;
    const asked: Submit = { path, headers, body: JSON.parse(body.toString()) as Submit['body'], id };
    fake.submits.push(asked);
    const work = id === null ? null : begin(id, plan, asked);
    if (how === 'hang') return;
    if (how === 'lost') return void socket.destroy();
    if (typeof how === 'number') return json(response, how, { detail: 'The submit was refused.' });
    if (how === 'ok') return json(response, 201, shown(work!));
    const text = JSON.stringify(shown(work!));
    response.writeHead(201, { 'content-type': 'application/json', 'content-length': text.length });
    response.write(text.slice(0, text.length / 2), () => socket.destroy());
  }

  function begin(id: string, plan: Plan, asked: Submit): Work {
    const { workMs = 0, callback = 'never', ends = 'succeeded' } = plan;
    const work: Work = { id, plan, submit: asked, beganAt: performance.now(), status: 'starting', polls: 0 };
    fake.works.set(id, work);
    const call = (): void => void fake.callBack(id).catch(() => {});
    if (callback === 'early' || callback === 'both') after(0, call);
    after(workMs, () => {
      if (!isOver(work)) work.status = ends;
      if (callback === 'done' || callback === 'both') call();
    });
    return work;
  }

  /** Two a page, so that a search must turn pages. */
  function list(request: IncomingMessage, response: ServerResponse): void {
    const from = Number(new URL(request.url ?? '/', origin).searchParams.get('cursor') ?? 0);
    const all = [...fake.works.values()].toReversed().filter(({ plan }) => !plan.unlisted);
    const next = from + 2 < all.length ? `${origin}/v1/predictions?cursor=${from + 2}` : null;
    json(response, 200, { next, previous: null, results: all.slice(from, from + 2).map(shown) });
  }

  async function file(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    fake.fetched.push({ path, authorization: request.headers.authorization });
    const [, , name = ''] = path.split('/');
    const drawn = await draw(name, fake.fetched.filter((one) => one.path === path).length);
    if (drawn === null) return json(response, 404, { detail: 'no such file' });
    response.writeHead(drawn.status, drawn.headers);
    response.end(drawn.bytes);
  }

  const shown = (work: Work): object => {
    const { plan, submit: asked, id, polls } = work;
    const { statuses = ['starting', 'processing'] } = plan;
    const over = isOver(work);
    const done = work.status === 'succeeded';
    return {
      id,
      status: over ? work.status : statuses[Math.min(polls, statuses.length - 1)],
      input: asked.body.input,
      webhook: asked.body.webhook,
      output: done ? ('output' in plan ? plan.output : `${origin}/files/mill.png`) : null,
      error: work.status === 'failed' ? (plan.error ?? 'CUDA out of memory') : null,
      logs: 'Using seed: 1',
      metrics: over
        ? {
            predict_time: plan.predictTime ?? 1.25,
            total_time: 2,
            ...(plan.tokens && { input_token_count: plan.tokens[0], output_token_count: plan.tokens[1] }),
          }
        : {},
      urls: { get: `${origin}/v1/predictions/${id}`, cancel: `${origin}/v1/predictions/${id}/cancel` },
    };
  };
  return fake;
}

const isOver = ({ status }: Work): boolean => ['succeeded', 'failed', 'canceled', 'aborted'].includes(status);

function json(response: ServerResponse, status: number, body: object): void {
  const head = { 'content-type': 'application/json', ...(status === 429 && { 'retry-after': '1' }) };
  response.writeHead(status, head);
  response.end(JSON.stringify(body));
}

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
