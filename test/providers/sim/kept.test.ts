import { describe, expect, it } from 'vitest';
import { hello, until } from '../support.ts';
import {
  callsOf,
  chat,
  type Completion,
  ended,
  headersOf,
  json,
  newJob,
  post,
  rawChat,
  sim,
  stop,
} from './client.ts';

describe('what is kept', () => {
  it('is the result of a call that finished, as it was, and nothing of one that did not', async () => {
    const job = newJob();
    const lookup = (attempt: number) => fetch(`${sim.url}/v1/lookup?key=${job}-${attempt}`);
    const answer = await (await chat({}, headersOf(job))).text();
    expect(await (await lookup(1)).text()).toBe(answer);
    expect((await lookup(2)).status).toBe(404);
    await (await chat({ sim: { fault: '500' } }, headersOf(job, 3))).text();
    expect((await lookup(3)).status).toBe(404);
    const socket = await rawChat({ sim: { latency_ms: 60_000 } }, job);
    await until(async () => (await callsOf(job)).some((call) => call.ended_at === null));
    expect((await lookup(1)).status).toBe(200);
    socket.destroy();
  });

  it('is what was billed and then lost, of every kind', async () => {
    const fault = { sim: { fault: 'billed-then-lost' } };
    for (const [path, body, type] of [
      ['/v1/chat/completions', hello, 'application/json'],
      ['/v1/images/generations', { prompt: 'x', size: '64x64' }, 'application/json'],
      ['/v1/audio/speech', { input: 'x' }, 'audio/wav'],
    ] as const) {
      const job = newJob();
      await expect(post(path, { ...body, ...fault }, headersOf(job))).rejects.toThrow('fetch failed');
      expect(await ended(job)).toMatchObject({ outcome: 'fault', billed: true });
      const kept = await fetch(`${sim.url}/v1/lookup?key=${job}-1`);
      expect([kept.status, kept.headers.get('content-type')]).toEqual([200, type]);
      expect((await kept.bytes()).length).toBeGreaterThan(100);
    }
  });
});

const remote = (id: string, method = 'GET') => fetch(`${sim.url}/v1/remote/${id}`, { method });

const accept = async (latency_ms: number, job = newJob()) =>
  json<{ id: string; status: string }>(chat({ sim: { fault: 'async', latency_ms } }, headersOf(job)));

describe('work for later', () => {
  it('is done after its latency, and billed then', async () => {
    const job = newJob();
    const { id, status } = await accept(150, job);
    expect(status).toBe('processing');
    expect(await json(remote(id))).toEqual({ id, status: 'processing' });
    expect(await ended(job)).toMatchObject({ outcome: 'accepted', billed: false });
    const done = await until(async () => {
      const said = await json<{ status: string; result?: Completion }>(remote(id));
      return said.status === 'succeeded' && said;
    });
    expect(done.result).toMatchObject({ object: 'chat.completion', choices: [{ finish_reason: 'stop' }] });
    expect(await ended(job)).toMatchObject({ billed: true });
    expect((await fetch(`${sim.url}/v1/lookup?key=${job}-1`)).status).toBe(200);
  });

  it.each(['DELETE', 'POST', 'stop'])('can be canceled by %s, and is never billed', async (how) => {
    const job = newJob();
    const { id } = await accept(60_000, job);
    if (how === 'stop') expect(await stop(job)).toEqual({ stopped: true });
    else
      expect(await json(how === 'POST' ? remote(`${id}/cancel`, 'POST') : remote(id, 'DELETE'))).toEqual({
        id,
        status: 'canceled',
      });
    expect(await json(remote(id))).toEqual({ id, status: 'canceled' });
    expect(await ended(job)).toMatchObject({ billed: false });
  });

  it('cannot be canceled once done', async () => {
    const job = newJob();
    const { id } = await accept(0, job);
    await until(async () => (await json<{ status: string }>(remote(id))).status === 'succeeded');
    expect(await json(remote(id, 'DELETE'))).toMatchObject({ status: 'succeeded' });
    expect(await stop(job)).toEqual({ stopped: false });
  });

  it('is 404 where nobody knows it, like any other route', async () => {
    expect((await remote('rem_nothing')).status).toBe(404);
    expect((await fetch(`${sim.url}/nothing`)).status).toBe(404);
    expect((await fetch(`${sim.url}/v1/chat/completions`)).status).toBe(404);
  });
});
