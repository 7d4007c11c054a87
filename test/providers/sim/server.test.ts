import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { speak } from '../../../src/providers/sim/sound/speak.ts';
import { pcmBytes } from '../../../src/providers/sim/sound/wav.ts';
import { hello, type LoggedCall, type Sim, startSim, until } from '../support.ts';

let sim: Sim;
beforeAll(async () => {
  sim = await startSim();
});
afterAll(() => sim.stop());

let jobs = 0;
const newJob = (): string => `job_server${++jobs}`;

/** As the platform would name the caller. */
const headersOf = (job: string, attempt = 1): Record<string, string> => ({
  'x-millrace-account': 'acc_1',
  'x-millrace-job': job,
  'x-millrace-attempt': String(attempt),
});

const post = (path: string, body: object, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(sim.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
const chat = (body: object, headers: Record<string, string> = {}): Promise<Response> =>
  post('/v1/chat/completions', { model: 'sim', ...hello, ...body }, headers);
const json = async <T>(response: Promise<Response>): Promise<T> => (await (await response).json()) as T;
const callsOf = async (job: string): Promise<LoggedCall[]> =>
  (await sim.calls()).filter((call) => call.job_id === job);
const stop = (job: string, attempt = 1): Promise<{ stopped: boolean }> =>
  json(post('/calls/stop', { job_id: job, attempt }));
const ended = (job: string): Promise<LoggedCall> =>
  until(async () => (await callsOf(job)).find((call) => call.ended_at !== null));
const begun = (job: string): Promise<LoggedCall> => until(async () => (await callsOf(job)).at(-1));

interface Completion {
  choices: { message: { content: string }; finish_reason: string }[];
  usage: { prompt_tokens: number; completion_tokens: number; total_tokens: number };
}

/** A request over a socket of our own, so that the test can do to it what it likes. */
async function rawChat(body: object, job: string): Promise<Socket> {
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

const say = async (content: string) =>
  (await json<Completion>(chat({ messages: [{ role: 'user', content }] }))).choices[0]!.message.content;

describe('chat', () => {
  it('says the same to the same prompt, and something else to another', async () => {
    expect(await say('one')).toBe(await say('one'));
    expect(await say('one')).not.toBe(await say('two'));
    const words = (await say('How is bread made?')).split(' ').length;
    expect(words).toBeGreaterThanOrEqual(10);
    expect(words).toBeLessThanOrEqual(60);
  });

  it.each(['max_tokens', 'max_completion_tokens'])(
    'stays within %s, and says that it was cut',
    async (name) => {
      const { choices, usage } = await json<Completion>(chat({ [name]: 3, n: 2 }));
      expect(choices.map((choice) => choice.finish_reason)).toEqual(['length', 'length']);
      expect(usage.completion_tokens).toBe(6);
      expect(choices[0]!.message.content.split(' ')).toHaveLength(3);
    },
  );

  it.each([
    [[{ role: 'user', content: '' }]],
    [[{ role: 'user', content: 'é水🌊'.repeat(100) }]],
    [[{ role: 'a', content: [{ type: 'text', text: 'part' }] }, { role: 'user' }, {}]],
    [Array.from({ length: 50 }, () => ({ content: 'x' }))],
  ])('counts no more prompt tokens than the messages have bytes', async (messages) => {
    const { usage } = await json<Completion>(chat({ messages }));
    expect(usage.prompt_tokens).toBeLessThanOrEqual(Buffer.byteLength(JSON.stringify(messages)));
    expect(usage.total_tokens).toBe(usage.prompt_tokens + usage.completion_tokens);
  });

  it('streams the same words, a word an event where there is time to see it', async () => {
    const whole = await json<Completion>(chat({}));
    const text = await (
      await chat({ stream: true, stream_options: { include_usage: true }, sim: { latency_ms: 60 } })
    ).text();
    const events = text
      .split('\n\n')
      .slice(0, -1)
      .map((event) => event.slice('data: '.length));
    expect(events.pop()).toBe('[DONE]');
    const chunks = events.map(
      (event) =>
        JSON.parse(event) as {
          choices: { delta: { content?: string }; finish_reason: string | null }[];
          usage: unknown;
        },
    );
    const last = chunks.pop()!;
    expect(last).toMatchObject({ choices: [], usage: whole.usage });
    expect(chunks.every((chunk) => chunk.usage === null)).toBe(true);
    const words = chunks.map((chunk) => chunk.choices[0]!.delta.content).filter((word) => word);
    expect(words.join('')).toBe(whole.choices[0]!.message.content);
    expect(words).toHaveLength(whole.usage.completion_tokens);
    expect(chunks.at(-1)!.choices[0]!.finish_reason).toBe('stop');
    expect(await (await chat({ stream: true })).text()).not.toContain('usage');
  });

  it('takes its time, and spreads a stream over it', async () => {
    const began = performance.now();
    const reader = (await chat({ stream: true, sim: { latency_ms: 300 } })).body!.getReader();
    const times: number[] = [];
    while (!(await reader.read()).done) times.push(performance.now() - began);
    expect(times.length).toBeGreaterThan(5);
    expect(times.at(-1)).toBeGreaterThanOrEqual(295);
    expect(times.at(-1)! - times[0]!).toBeGreaterThan(100);
  });

  it.each([
    [{ messages: [] }, 'messages'],
    [{ messages: 'x' }, 'messages'],
    [{ max_tokens: 0 }, 'max_tokens'],
    [{ n: 99 }, 'n must'],
    [{ sim: { fault: 'nonsense' } }, 'sim.fault'],
    [{ sim: { latency: 5 } }, 'latency'],
    [{ sim: { latency_ms: -1 } }, 'latency_ms'],
    [{ sim: { times: 1.5 } }, 'times'],
    [{ sim: [] }, 'sim must'],
  ])('refuses %j', async (body, named) => {
    const response = await chat(body);
    expect(response.status).toBe(400);
    expect(((await response.json()) as { error: { message: string } }).error.message).toContain(named);
  });

  it('refuses what is no JSON', async () => {
    const response = await fetch(`${sim.url}/v1/chat/completions`, { method: 'POST', body: '{"messages":' });
    expect([response.status, ((await response.json()) as { error: { code: string } }).error.code]).toEqual([
      400,
      'invalid_json',
    ]);
  });
});

const transcribe = (bytes: Buffer, fields: Record<string, string> = {}) => {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  form.set('file', new Blob([new Uint8Array(bytes)]), 'a.wav');
  return fetch(`${sim.url}/v1/audio/transcriptions`, { method: 'POST', body: form });
};

describe('images and sound', () => {
  it.each([
    { size: '63x64' },
    { size: '64x1025' },
    { size: 'large' },
    { prompt: '' },
    { n: 11 },
    { response_format: 'url' },
  ])('refuses an image with %j', async (body) =>
    expect((await post('/v1/images/generations', { prompt: 'x', ...body })).status).toBe(400),
  );

  it.each([
    { input: '' },
    { input: 7 },
    { voice: 1 },
    { response_format: 'mp3' },
    { speed: 9 },
    { input: 'x'.repeat(20_001) },
  ])('refuses speech with %j', async (body) =>
    expect((await post('/v1/audio/speech', { input: 'x', ...body })).status).toBe(400),
  );

  it('hears raw PCM that another process spoke, in each format', async () => {
    const bytes = pcmBytes(speak('First sentence. Second one!', { voice: 'x', speed: 1 }));
    expect(await (await transcribe(bytes, { response_format: 'text' })).text()).toBe(
      'First sentence. Second one!',
    );
    expect(await json(transcribe(bytes))).toMatchObject({ text: 'First sentence. Second one!' });
    const verbose = await json<{
      segments: { start: number; end: number; text: string }[];
      duration: number;
    }>(transcribe(bytes, { response_format: 'verbose_json', language: 'de' }));
    expect(verbose).toMatchObject({
      language: 'de',
      duration: Math.floor(bytes.length / 32) / 1000,
      usage: { type: 'duration' },
    });
    expect(verbose.segments.map((segment) => segment.text)).toEqual(['First sentence.', 'Second one!']);
    expect(verbose.segments[1]!.start).toBe(verbose.segments[0]!.end);
  });

  it.each([
    ['silence', Buffer.alloc(64_000)],
    ['text', Buffer.from('This is no audio at all. '.repeat(100))],
    ['nothing', Buffer.alloc(0)],
  ])('hears no speech in %s', async (_, bytes) => {
    const response = await transcribe(bytes);
    expect([response.status, ((await response.json()) as { error: { code: string } }).error.code]).toEqual([
      400,
      'no_speech',
    ]);
  });

  it('hears no more than it was allowed', async () => {
    const bytes = pcmBytes(speak('x', { voice: 'x', speed: 1 }));
    expect((await transcribe(bytes, { max_ms: '100' })).status).toBe(400);
    expect(
      await json(transcribe(Buffer.concat([bytes, Buffer.alloc(320_000)]), { max_ms: '2000' })),
    ).toMatchObject({
      text: 'x',
      usage: { seconds: 2 },
    });
  });

  it('refuses what is no form, or a form without its file', async () => {
    expect((await post('/v1/audio/transcriptions', {})).status).toBe(400);
    const form = new FormData();
    form.set('model', 'x');
    expect((await fetch(`${sim.url}/v1/audio/transcriptions`, { method: 'POST', body: form })).status).toBe(
      400,
    );
  });
});

const open = async () => (await json<{ open: number }>(fetch(`${sim.url}/calls/open`))).open;

describe('the log of calls', () => {
  it('names the caller and says when a call began and ended', async () => {
    const job = newJob();
    await (await chat({ sim: { latency_ms: 50 } }, headersOf(job, 2))).text();
    const call = await ended(job);
    expect(call).toMatchObject({
      job_id: job,
      account_id: 'acc_1',
      attempt: 2,
      kind: 'chat',
      outcome: 'ok',
      billed: true,
    });
    expect(Number(BigInt(call.ended_ns!) - BigInt(call.started_ns)) / 1e6).toBeGreaterThanOrEqual(49);
    expect(call.started_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  });

  it('knows a caller by the idempotency key alone', async () => {
    await (await chat({}, { 'idempotency-key': 'job_with-dash-3' })).text();
    expect(await ended('job_with-dash')).toMatchObject({ attempt: 3, account_id: null });
  });

  it('is newest last and as long as asked', async () => {
    const [first, second] = [newJob(), newJob()];
    await (await chat({}, headersOf(first))).text();
    await (await chat({}, headersOf(second))).text();
    expect((await sim.calls(2)).map((call) => call.job_id)).toEqual([first, second]);
    expect((await fetch(`${sim.url}/calls?limit=10001`)).status).toBe(400);
    expect((await fetch(`${sim.url}/calls?limit=x`)).status).toBe(400);
  });

  it.each(['destroy', 'end', 'reset'] as const)('ends a call with its socket: %s', async (how) => {
    const job = newJob();
    const socket = await rawChat({ sim: { fault: 'hang' } }, job);
    expect(await begun(job)).toMatchObject({ ended_at: null, outcome: null });
    if (how === 'reset') socket.resetAndDestroy();
    else socket[how]();
    expect(await ended(job)).toMatchObject({ outcome: 'gone', billed: false });
  });

  it('ends a stream with its socket while there is more to say', async () => {
    const job = newJob();
    const socket = await rawChat({ stream: true, sim: { latency_ms: 60_000 } }, job);
    await once(socket, 'data');
    socket.destroy();
    expect(await ended(job)).toMatchObject({ outcome: 'gone', billed: false });
  });

  it('never shows the next call of a slot before the end of the one that was cut off for it', async () => {
    const slots = Array.from({ length: 10 }, newJob);
    await Promise.all(
      slots.map(async (slot) => {
        for (let count = 1; count <= 21; count++) {
          const socket = await rawChat({ sim: { fault: 'hang' } }, slot);
          await until(async () => (await callsOf(slot)).length === count);
          socket.destroy();
        }
      }),
    );
    await until(async () => (await open()) === 0);
    for (const slot of slots) {
      const calls = await callsOf(slot);
      expect(calls).toHaveLength(21);
      for (let i = 1; i < calls.length; i++)
        expect(BigInt(calls[i]!.started_ns) >= BigInt(calls[i - 1]!.ended_ns!)).toBe(true);
    }
  });

  it('counts the open calls', async () => {
    const before = await open();
    const socket = await rawChat({ sim: { fault: 'hang' } }, newJob());
    await until(async () => (await open()) === before + 1);
    socket.destroy();
    await until(async () => (await open()) === before);
  });
});

describe('stop', () => {
  it('ends an open call for nothing, before its caller hears of it', async () => {
    const job = newJob();
    const socket = await rawChat({ sim: { latency_ms: 60_000 } }, job);
    await begun(job);
    expect(await stop(job)).toEqual({ stopped: true });
    expect(await ended(job)).toMatchObject({ outcome: 'stopped', billed: false });
    expect(socket.bytesRead).toBe(0);
    expect(await stop(job)).toEqual({ stopped: false });
    await once(socket, 'close');
    expect(socket.bytesRead).toBe(0);
  });

  it('does nothing to a call that is over, another attempt, or a job that nobody knows', async () => {
    const job = newJob();
    await (await chat({}, headersOf(job))).text();
    await ended(job);
    expect(await stop(job)).toEqual({ stopped: false });
    expect(await stop(job, 2)).toEqual({ stopped: false });
    expect(await stop('job_nobody')).toEqual({ stopped: false });
    expect((await callsOf(job))[0]).toMatchObject({ outcome: 'ok', billed: true });
  });
});

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

describe('faults', () => {
  it("befall the first calls of a job, by the simulator's own count", async () => {
    const job = newJob();
    const statuses: number[] = [];
    for (let attempt = 1; attempt <= 4; attempt++) {
      statuses.push((await chat({ sim: { fault: '500', times: 2 } }, headersOf(job, attempt))).status);
    }
    expect(statuses).toEqual([500, 500, 200, 200]);
    expect((await chat({ sim: { fault: '500', times: 2 } }, headersOf(newJob()))).status).toBe(500);
    expect((await chat({ sim: { fault: '500', times: 0 } }, headersOf(newJob()))).status).toBe(200);
  });

  it('befall every call without a count', async () => {
    const job = newJob();
    for (let attempt = 1; attempt <= 3; attempt++) {
      const response = await chat({ sim: { fault: '429-retry-after' } }, headersOf(job, attempt));
      expect([response.status, response.headers.get('retry-after')]).toEqual([429, '1']);
    }
    expect((await chat({ sim: { fault: '429' } })).headers.get('retry-after')).toBeNull();
  });

  it('drip gives a byte and then waits', async () => {
    const job = newJob();
    const socket = await rawChat({ sim: { fault: 'drip' } }, job);
    let text = '';
    while (!text.includes('\r\n\r\n{')) text += String((await once(socket, 'data'))[0]);
    expect(text.endsWith('\r\n\r\n{')).toBe(true);
    expect(await begun(job)).toMatchObject({ ended_at: null });
    socket.destroy();
    await ended(job);
  });

  it('cut breaks off in the middle', async () => {
    for (const stream of [true, false]) {
      const job = newJob();
      const response = await chat({ stream, sim: { fault: 'cut' } }, headersOf(job));
      expect(response.status).toBe(200);
      await expect(response.text()).rejects.toThrow();
      expect(await ended(job)).toMatchObject({ outcome: 'fault', billed: false });
    }
  });
});

describe('the process', () => {
  it('ends at once on SIGTERM, with calls open', async () => {
    const other = await startSim();
    expect(await json(fetch(`${other.url}/healthz`))).toEqual({ ok: true });
    const hanging = fetch(`${other.url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ ...hello, sim: { fault: 'hang' } }),
    });
    await until(async () => (await other.calls()).length === 1);
    const failed = expect(hanging).rejects.toThrow('fetch failed');
    expect(await other.stop()).toEqual({ code: 0 });
    await failed;
  });
});
