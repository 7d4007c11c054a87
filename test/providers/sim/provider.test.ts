import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openProviders, type Providers } from '../../../src/providers/registry.ts';
import type { Call, CallResult, Output, Provider } from '../../../src/providers/provider.ts';
import { simProvider } from '../../../src/providers/sim/index.ts';
import { callOf, hello, httpServer, route, type Sim, startSim, until } from '../support.ts';

let sim: Sim;
let providers: Providers;
let provider: Provider;
beforeAll(async () => {
  sim = await startSim();
  providers = openProviders({ simUrl: sim.url });
  provider = providers.get('sim');
});
afterAll(async () => {
  await providers.close();
  await sim.stop();
});

const at = route();

function output<K extends Output['kind']>(result: CallResult, kind: K): Extract<Output, { kind: K }> {
  if (result.type !== 'succeeded' || result.output.kind !== kind)
    throw new Error(`no ${kind}: ${JSON.stringify(result)}`);
  return result.output as Extract<Output, { kind: K }>;
}

const audioOf = (bytes: Buffer, contentType = 'audio/wav'): Call['audio'] => ({
  contentType,
  bytes: bytes.length,
  // In pieces, as storage reads them.
  open: async () =>
    Readable.from(
      Array.from({ length: Math.ceil(bytes.length / 9_000) }, (_, i) =>
        bytes.subarray(i * 9_000, (i + 1) * 9_000),
      ),
    ),
});

const spoken = async (input: object): Promise<Extract<Output, { kind: 'tts' }>> =>
  output(await provider.call(at, callOf('tts', input)), 'tts');
const logged = (jobId: string) =>
  until(async () => (await sim.calls()).find((call) => call.job_id === jobId && call.ended_at !== null));

async function* halfOfIt(): AsyncGenerator<Buffer> {
  yield Buffer.alloc(500);
  throw new Error('disk');
}

/** One good input of each kind. */
const INPUTS: Record<Exclude<Call['kind'], 'stt'>, object> & { stt: object } = {
  chat: hello,
  image: { prompt: 'a mill', size: '64x80' },
  tts: { input: 'Say it.' },
  stt: { language: 'en' },
};
const KINDS = ['chat', 'image', 'tts', 'stt'] as const;

async function callWith(kind: Call['kind'], simField: object, rest: Partial<Call> = {}): Promise<Call> {
  const audio = kind === 'stt' ? audioOf((await spoken({ input: 'Hear it.' })).bytes) : null;
  return callOf(kind, { ...INPUTS[kind], sim: simField }, { audio, ...rest });
}

describe('the simulator as a provider', () => {
  it('chats, streaming words, and is told who calls', async () => {
    const deltas: string[] = [];
    const call = callOf(
      'chat',
      { ...hello, sim: { latency_ms: 40 } },
      { onDelta: (delta) => deltas.push(delta), bounds: { max_output_tokens: 12, n: 1 } },
    );
    const result = await provider.call(at, call);
    const { text, completion } = output(result, 'chat');
    expect(deltas.map((delta) => (JSON.parse(delta) as { content: string }).content).join('')).toBe(text);
    expect(deltas.length).toBeGreaterThan(10);
    expect(JSON.parse(completion)).toMatchObject({
      model: 'upstream-model',
      choices: [{ message: { content: text }, finish_reason: 'length' }],
    });
    expect(result).toMatchObject({
      usage: [
        { name: 'token', measure: 'input' },
        { name: 'token', measure: 'output', quantity: 12 },
      ],
    });
    expect(await logged(call.jobId)).toMatchObject({ account_id: 'acc_test', attempt: 1, outcome: 'ok' });
  });

  it('says the same in one piece', async () => {
    const streamed = output(await provider.call(at, callOf('chat', hello)), 'chat');
    const whole = output(await provider.call(at, callOf('chat', { ...hello, stream: false })), 'chat');
    expect(whole.text).toBe(streamed.text);
    expect(JSON.parse(whole.completion)).toMatchObject({
      object: 'chat.completion',
      usage: { prompt_tokens: expect.any(Number) as number },
    });
  });

  it('draws as many images as the bounds allow, each of a seed of its own', async () => {
    const call = callOf(
      'image',
      { prompt: 'a mill at dawn', n: 9, size: '1x1', seed: 5 },
      { bounds: { n: 3, size: '96x64' } },
    );
    const result = await provider.call(at, call);
    const { images } = output(result, 'image');
    expect(images.map(({ width, height, seed, contentType }) => [width, height, seed, contentType])).toEqual(
      [5, 6, 7].map((seed) => [96, 64, seed, 'image/png']),
    );
    expect(images[0]!.bytes.equals(images[1]!.bytes)).toBe(false);
    const again = output(
      await provider.call(at, callOf('image', { prompt: 'a mill at dawn', seed: 6, size: '96x64' })),
      'image',
    );
    expect(again.images[0]!.bytes.equals(images[1]!.bytes)).toBe(true);
    expect(result).toMatchObject({ usage: [{ name: 'image', measure: 'output', quantity: 3 }] });
  });

  it('speaks, and hears what it spoke', async () => {
    const text = 'The wheel turns. Größe XL, 水車! 🌊';
    const result = await provider.call(at, callOf('tts', { input: text, voice: 'alto' }));
    const speech = output(result, 'tts');
    expect(speech).toMatchObject({
      contentType: 'audio/wav',
      sampleRate: 16_000,
      durationMs: Math.floor((speech.bytes.length - 44) / 32),
    });
    expect(result).toMatchObject({
      usage: [{ name: 'character', measure: 'input', quantity: [...text].length }],
    });
    const call = callOf(
      'stt',
      { language: 'de' },
      { audio: audioOf(speech.bytes), bounds: { audio_ms: speech.durationMs } },
    );
    const heard = await provider.call(at, call);
    expect(output(heard, 'stt')).toMatchObject({ text, language: 'de', durationMs: speech.durationMs });
    expect(output(heard, 'stt').segments.map((segment) => segment.text)).toEqual([
      'The wheel turns.',
      'Größe XL, 水車!',
      '🌊',
    ]);
    expect(heard).toMatchObject({
      usage: [{ name: 'millisecond', measure: 'input', quantity: speech.durationMs }],
    });
  });

  it('speaks raw PCM, which is heard in another process', async () => {
    const speech = await spoken({ input: 'No header.', response_format: 'pcm' });
    expect(speech).toMatchObject({
      sampleRate: 16_000,
      contentType: 'audio/pcm;rate=16000',
      durationMs: Math.floor(speech.bytes.length / 32),
    });
    const other = await startSim();
    const ear = simProvider({ url: other.url });
    const heard = await ear.call(
      at,
      callOf('stt', {}, { audio: audioOf(speech.bytes, 'application/octet-stream') }),
    );
    expect(output(heard, 'stt').text).toBe('No header.');
    await ear.close();
    await other.stop();
  });

  it('hears a long upload', async () => {
    const text = 'Grain after grain after grain. '.repeat(240);
    const speech = await spoken({ input: text });
    expect(
      output(await provider.call(at, callOf('stt', {}, { audio: audioOf(speech.bytes) })), 'stt').text,
    ).toBe(text);
  });

  it('says that it heard nothing, which is final', async () => {
    const result = await provider.call(at, callOf('stt', {}, { audio: audioOf(Buffer.alloc(99_999)) }));
    expect(result).toMatchObject({
      type: 'failed',
      code: 'provider_rejected',
      retryable: false,
      evidence: { note: 'no_speech' },
    });
  });

  it('says so too when it said at first that it would listen later', async () => {
    const call = callOf('stt', { sim: { fault: 'async' } }, { audio: audioOf(Buffer.alloc(9_999)) });
    expect(await provider.call(at, call)).toMatchObject({ type: 'failed', evidence: { note: 'no_speech' } });
  });

  it("says when the audio cannot be read, which is not the vendor's fault", async () => {
    const broken: Call['audio'] = {
      contentType: 'audio/wav',
      bytes: 1_000,
      open: async () => Readable.from(halfOfIt()),
    };
    const missing = { ...broken, open: () => Promise.reject(new Error('gone')) };
    for (const audio of [broken, missing]) {
      expect(await provider.call(at, callOf('stt', {}, { audio }))).toMatchObject({
        type: 'failed',
        code: 'storage_unavailable',
        retryable: true,
      });
    }
  });
});

describe.each(KINDS)('a %s that goes wrong', (kind) => {
  it.each([
    ['429', { code: 'provider_rate_limited', retryable: true, retryAfterMs: null }],
    ['429-retry-after', { code: 'provider_rate_limited', retryable: true, retryAfterMs: 1_000 }],
    ['500', { code: 'provider_unavailable', retryable: true }],
    ['refusal', { code: 'content_refused', retryable: false }],
    ['cut', { code: 'provider_unavailable', retryable: true }],
  ])('by %s fails as it should', async (fault, expected) => {
    expect(await provider.call(at, await callWith(kind, { fault }))).toMatchObject({
      type: 'failed',
      ...expected,
    });
  });

  it.each([1, 2, 3])('by malformed fails in each of its forms (%d)', async (attempt) => {
    const result = await provider.call(at, await callWith(kind, { fault: 'malformed' }, { attempt }));
    expect(result).toMatchObject({ type: 'failed', code: 'provider_malformed', retryable: true });
  });

  it('by wrong-usage succeeds with the usage as reported', async () => {
    const result = await provider.call(at, await callWith(kind, { fault: 'wrong-usage' }));
    const right = await provider.call(at, await callWith(kind, {}));
    if (result.type !== 'succeeded' || right.type !== 'succeeded') throw new Error('both should succeed');
    expect(result.usage).toEqual(
      right.usage!.map(({ name, measure, quantity }) => ({ name, measure, quantity: quantity * 1_000 })),
    );
  });

  it('by hang and by drip is a timeout', async () => {
    const impatient = simProvider({ url: sim.url, totalMs: { [kind]: 400 } });
    for (const fault of ['hang', 'drip']) {
      const call = await callWith(kind, { fault });
      expect(await impatient.call(at, call)).toMatchObject({
        type: 'failed',
        code: 'provider_timeout',
        retryable: true,
      });
      expect(await logged(call.jobId)).toMatchObject({ outcome: 'gone', billed: false });
    }
    await impatient.close();
  });

  it('by billed-then-lost is ambiguous, and its result can be looked up', async () => {
    const call = await callWith(kind, { fault: 'billed-then-lost' });
    expect(await provider.call(at, call)).toMatchObject({
      type: 'ambiguous',
      evidence: { sent: true, http_status: null },
    });
    const earlier = { attempt: 1, remoteId: null };
    const right = await provider.call(at, await callWith(kind, {}));
    const found = await provider.lookup!(at, { ...call, attempt: 2 }, earlier);
    expect(found).toMatchObject({ type: 'succeeded', usage: (right as { usage: object }).usage });
    expect(comparable(found!)).toEqual(comparable(right));
    expect(await provider.lookup!(at, call, { attempt: 2, remoteId: null })).toBeNull();
  });

  it('by async is followed to its end, its name being kept first', async () => {
    const names: string[] = [];
    let kept = false;
    const call = await callWith(
      kind,
      { fault: 'async', latency_ms: 120 },
      {
        onRemoteId: async (id) => {
          names.push(id);
          await new Promise((resolve) => setImmediate(resolve));
          kept = true;
        },
      },
    );
    const right = await provider.call(at, await callWith(kind, {}));
    const result = await provider.call(at, call);
    expect(comparable(result)).toEqual(comparable(right));
    expect([names.length, kept]).toEqual([1, true]);
    const again = await provider.lookup!(at, { ...call, attempt: 2 }, { attempt: 1, remoteId: names[0]! });
    expect(comparable(again!)).toEqual(comparable(right));
  });

  it('by async can be stopped, and looked up where it is not known', async () => {
    const controller = new AbortController();
    const call = await callWith(
      kind,
      { fault: 'async', latency_ms: 60_000 },
      { signal: controller.signal, onRemoteId: async () => void setTimeout(() => controller.abort(), 20) },
    );
    expect(await provider.call(at, call)).toMatchObject({ type: 'stopped' });
    expect(await provider.stop!(at, call)).toBe(true);
    expect(
      await provider.lookup!(
        at,
        { ...call, signal: new AbortController().signal },
        { attempt: 1, remoteId: 'rem_nobody' },
      ),
    ).toBeNull();
  });

  it('can be stopped while it runs, for nothing', async () => {
    const controller = new AbortController();
    const call = await callWith(kind, { latency_ms: 60_000 }, { signal: controller.signal });
    const running = provider.call(at, call);
    await until(async () => (await sim.calls()).some((row) => row.job_id === call.jobId));
    expect(await provider.stop!(at, call)).toBe(true);
    controller.abort();
    expect(await running).toMatchObject({ type: 'stopped' });
    expect(await logged(call.jobId)).toMatchObject({ outcome: 'stopped', billed: false });
  });

  it('aborted without a word to the vendor, has its socket closed', async () => {
    const controller = new AbortController();
    const call = await callWith(kind, { latency_ms: 60_000 }, { signal: controller.signal });
    const running = provider.call(at, call);
    await until(async () => (await sim.calls()).some((row) => row.job_id === call.jobId));
    controller.abort();
    expect(await running).toMatchObject({ type: 'stopped', usage: null });
    expect(await logged(call.jobId)).toMatchObject({ outcome: 'gone', billed: false });
  });
});

/** What two results of the same work have in common: all but ids and times. */
function comparable(result: CallResult): unknown {
  if (result.type !== 'succeeded') return result;
  const { output: made, usage } = result;
  return made.kind === 'chat' ? { text: made.text, usage } : { made, usage };
}

describe('a simulator that is not there', () => {
  it('is unavailable, confirms no stop and knows of nothing', async () => {
    const other = await startSim();
    const alone = simProvider({ url: other.url });
    await other.stop();
    const call = callOf('chat', hello);
    expect(await alone.call(at, call)).toMatchObject({
      type: 'failed',
      code: 'provider_unavailable',
      retryable: true,
      evidence: { sent: false },
    });
    expect(await alone.stop!(at, call)).toBe(false);
    expect(await alone.lookup!(at, call, { attempt: 1, remoteId: null })).toBeNull();
    await alone.close();
  });
});

const following = async (answers: string[], totalMs = 10_000): Promise<CallResult> => {
  let asked = 0;
  const server = await httpServer((request, response) => {
    request.resume().on('end', () => {
      if (request.method === 'POST')
        return void response.writeHead(202).end('{"id":"rem_1","status":"queued"}');
      const answer = answers[Math.min(asked++, answers.length - 1)]!;
      if (answer === 'drop') return void request.socket.destroy();
      response.writeHead(answer === 'missing' ? 404 : 200).end(answer);
    });
  });
  const other = simProvider({ url: server.baseUrl.replace('/v1', ''), totalMs: { chat: totalMs } });
  const result = await other.call(at, callOf('chat', hello));
  await other.close();
  await server.close();
  return result;
};

describe('work for later at a vendor with its own words', () => {
  const done = '{"status":"succeeded","result":{"choices":[{"message":{"content":"late"}}]}}';

  it('goes on through lost polls and unknown words, and tells of those', async () => {
    const result = await following(['drop', '{"status":"warming"}', 'missing', 'nonsense', done]);
    expect(result).toMatchObject({ type: 'succeeded', output: { text: 'late' } });
    expect(result.evidence.note).toContain('warming');
  });

  it('ends where the work failed, was canceled, is unknown, or takes too long', async () => {
    const failed = { type: 'failed', retryable: true };
    expect(
      await following(['{"status":"failed","error":{"message":"x","code":"content_policy"}}']),
    ).toMatchObject({ code: 'content_refused' });
    expect(await following(['{"status":"failed"}'])).toMatchObject({ ...failed, code: 'provider_malformed' });
    expect(await following(['{"status":"canceled"}'])).toMatchObject({
      ...failed,
      code: 'provider_unavailable',
    });
    expect(await following(['missing'])).toMatchObject({ ...failed, code: 'provider_unavailable' });
    expect(await following(['{"status":"processing"}'], 400)).toMatchObject({
      ...failed,
      code: 'provider_timeout',
    });
    expect(await following(['drop'], 400)).toMatchObject({ ...failed, code: 'provider_timeout' });
  });
});
