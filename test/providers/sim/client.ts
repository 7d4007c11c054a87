// A simulator of the test file's own, as any HTTP client sees it.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll } from 'vitest';
import { hello, type LoggedCall, type Sim, startSim, until } from '../support.ts';

export let sim: Sim;
beforeAll(async () => {
  sim = await startSim();
});
afterAll(() => sim.stop());

let jobs = 0;
export const newJob = (): string => `job_server${++jobs}`;

/** As the platform would name the caller. */
export const headersOf = (job: string, attempt = 1): Record<string, string> => ({
  'x-millrace-account': 'acc_1',
  'x-millrace-job': job,
  'x-millrace-attempt': String(attempt),
});

export const post = (path: string, body: object, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(sim.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
export const chat = (body: object, headers: Record<string, string> = {}): Promise<Response> =>
  post('/v1/chat/completions', { model: 'sim', ...hello, ...body }, headers);
export const json = async <T>(response: Promise<Response>): Promise<T> =>
  (await (await response).json()) as T;
export const callsOf = async (job: string): Promise<LoggedCall[]> =>
  (await sim.calls()).filter((call) => call.job_id === job);
export const stop = (job: string, attempt = 1): Promise<{ stopped: boolean }> =>
  json(post('/calls/stop', { job_id: job, attempt }));
export const ended = (job: string): Promise<LoggedCall> =>
  until(async () => (await callsOf(job)).find((call) => call.ended_at !== null));
export const begun = (job: string): Promise<LoggedCall> => until(async () => (await callsOf(job)).at(-1));

export interface Completion {
  choices: { message: { content: string }; finish_reason: string }[];
  usage: { prompt_tokens: number; completion_tokens: number; total_tokens: number };
}

/** A request over a socket of our own, so that the test can do to it what it likes. */
export async function rawChat(body: object, job: string): Promise<Socket> {
  const { hostname, port } = new URL(sim.url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  await once(socket, 'connect');
  const text = JSON.stringify({ ...hello, ...body });
  const head = [
    'POST /v1/chat/completions HTTP/1.1',
    'host: sim',
    `content-length: ${Buffer.byteLength(text)}`,
  ];
  for (const [name, value] of Object.entries(headersOf(job))) head.push(`${name}: ${value}`);
  socket.write(`${head.join('\r\n')}\r\n\r\n${text}`);
  return socket;
}

export const openCalls = async () => (await json<{ open: number }>(fetch(`${sim.url}/calls/open`))).open;
