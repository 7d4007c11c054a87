// GET  /healthz
// GET  /calls?limit=N                    the last calls, newest last
// GET  /calls/open                       {open}
// POST /calls/stop {job_id, attempt}     {stopped}: true once nothing goes on and nothing will be billed
// GET  /v1/lookup?key=<job>-<attempt>    the result of a call that finished, whatever became of its answer; 202 {id, status} while
//                                        work that was accepted for later goes on
// GET  /v1/remote/:id                    {id, status, result?}
// DELETE /v1/remote/:id                  {id, status}; also as POST /v1/remote/:id/cancel
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Answer, invalid, objectOf, SimError } from './answer.ts';
import { readBody } from './body.ts';
import { keyOf, MOST_LISTED } from './calls.ts';
import type { Simulator } from './simulator.ts';

const MOST_BYTES = 64 << 10;

export function control(sim: Simulator, request: IncomingMessage, response: ServerResponse): void {
  readBody(request, MOST_BYTES, (body) => {
    answered(sim, request, body ?? Buffer.alloc(0)).then(
      (value) => send(response, 200, value),
      (error: unknown) => {
        const known =
          error instanceof SimError ? error : new SimError(500, 'server_error', 'The simulator failed.');
        send(response, known.status, { contentType: 'application/json', body: known.body() });
      },
    );
  });
}

/** With a status where it is not the usual one. */
type Reply = Answer & { status?: number };

function send(response: ServerResponse, status: number, value: object): void {
  const answer: Reply =
    'contentType' in value
      ? (value as Reply)
      : { contentType: 'application/json', body: JSON.stringify(value) };
  response.writeHead(answer.status ?? status, [
    'content-type',
    answer.contentType,
    ...(answer.headers ?? []),
  ]);
  response.end(answer.body);
}

async function answered(sim: Simulator, request: IncomingMessage, body: Buffer): Promise<object> {
  const url = new URL(request.url ?? '/', 'http://sim');
  const route = `${request.method} ${url.pathname}`;
  switch (route) {
    case 'GET /healthz':
      return { ok: true };
    case 'GET /calls':
      return sim.log.recent(limitOf(url.searchParams.get('limit')));
    case 'GET /calls/open':
      return { open: sim.log.open };
    case 'POST /calls/stop':
      return { stopped: stop(sim, objectOf(body)) };
    case 'GET /v1/lookup':
      return found(sim, url.searchParams.get('key') ?? '');
  }
  const remote = /^(GET|DELETE|POST) \/v1\/remote\/([\w-]+)(\/cancel)?$/.exec(route);
  if (!remote || (remote[1] === 'POST') !== (remote[3] !== undefined))
    return missing('There is no such route.');
  const id = remote[2] as string;
  if (remote[1] !== 'GET') sim.remotes.cancel(id);
  return (await sim.remotes.show(id)) ?? missing('There is no such work.');
}

async function found(sim: Simulator, key: string): Promise<Reply> {
  const id = sim.remotes.goingOn(key);
  if (id === null) return (await sim.results.get(key)) ?? missing('No result has that key.');
  return { status: 202, contentType: 'application/json', body: JSON.stringify({ id, status: 'processing' }) };
}

function limitOf(text: string | null): number {
  const limit = Number(text ?? 100);
  if (!Number.isSafeInteger(limit) || limit < 1 || limit > MOST_LISTED)
    throw invalid(`limit must be a whole number from 1 to ${MOST_LISTED}.`);
  return limit;
}

function missing(message: string): never {
  throw new SimError(404, 'not_found', message);
}

/** How long a caller has to close the socket of a call that was stopped, in ms. */
const CLOSING_MS = 2_000;

/**
 * Ends an open call, or work that goes on behind one. False: it is over, or never was, and stays as it is. Whoever asked is
 * the first to know: the call itself is not answered any more, so that nobody takes its end for a failure.
 */
function stop(sim: Simulator, { job_id: jobId, attempt }: Record<string, unknown>): boolean {
  if (typeof jobId !== 'string' || !Number.isSafeInteger(attempt))
    throw invalid('job_id and attempt name a call.');
  const key = keyOf({ accountId: null, jobId, attempt: attempt as number }) as string;
  const live = sim.find(key);
  if (!live || live.call.billed) return sim.remotes.cancelByKey(key);
  sim.end(live, 'stopped');
  setTimeout(() => live.socket.destroy(), CLOSING_MS).unref();
  return true;
}
