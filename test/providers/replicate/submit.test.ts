// What is asked of Replicate, what becomes of the answers, and how work is found whose name was lost.
import { Readable } from 'node:stream';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { RouteData } from '../../../src/domain/model.ts';
import type { Call, CallResult, Provider, Route } from '../../../src/providers/provider.ts';
import { replicateProvider } from '../../../src/providers/replicate/index.ts';
import { type FakeReplicate, startReplicate } from '../../support/replicate.ts';
import { tone } from '../../support/replicate-files.ts';
import { callOf, hello, route } from '../support.ts';

let vendor: FakeReplicate;
let provider: Provider;
beforeAll(async () => {
  vendor = await startReplicate();
  provider = replicateProvider({
    pace: { firstMs: 5, mostMs: 20 },
    againMs: [20, 40],
    submitMs: 1_500,
    totalMs: { tts: 500 },
  });
});
beforeEach(() => {
  vendor.submits.length = 0;
  vendor.cancels.length = 0;
});
afterAll(async () => {
  await provider.close();
  await vendor.close();
});

const at = (data: RouteData = {}, rest: Partial<Route> = {}): Route => ({
  ...route(vendor.url, 'r8-key'),
  upstreamModel: 'mills/flux',
  data,
  ...rest,
});
let calls = 0;
const image = (rest: Partial<Call> = {}): Call =>
  callOf(
    'image',
    { prompt: 'a mill at dawn', n: 1, size: '64x48', seed: 7, quality: 'high' },
    {
      bounds: { n: 1, size: '64x48' },
      callbackUrl: `https://mill.example/v1/callbacks/token-${++calls}`,
      ...rest,
    },
  );
const earlierOf = ({ attempt, callbackUrl }: Call, remoteId: string | null = null) => ({
  attempt,
  remoteId,
  callbackUrl,
});

describe('a submit', () => {
  it('goes where the upstream model says, with the webhook and without waiting', async () => {
    const version = '5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa';
    for (const upstreamModel of ['mills/flux', `mills/flux:${version}`, version, 'deployments/mills/own'])
      await provider.call(at({}, { upstreamModel }), image());
    expect(vendor.submits.map(({ path, body }) => [path, body.version])).toEqual([
      ['/v1/models/mills/flux/predictions', undefined],
      ['/v1/predictions', version],
      ['/v1/predictions', version],
      ['/v1/deployments/mills/own/predictions', undefined],
    ]);
    const [{ headers, body }] = vendor.submits as [(typeof vendor.submits)[0]];
    expect(headers).toMatchObject({ authorization: 'Bearer r8-key', 'content-type': 'application/json' });
    expect(headers.prefer).toBeUndefined();
    expect(body).toEqual({
      input: { prompt: 'a mill at dawn', num_outputs: 1, width: 64, height: 48, seed: 7 },
      webhook: expect.stringMatching(/^https:\/\/mill\.example\/v1\/callbacks\/token-\d+$/),
      webhook_events_filter: ['completed'],
    });
  });

  it('names fields as the route says, and sends no webhook where nobody could call', async () => {
    const data: RouteData = {
      input_map: { n: null, width: null, height: null, size: 'aspect', quality: 'detail' },
      input: { output_format: 'png', go_fast: true },
    };
    await provider.call(at(data), image({ callbackUrl: null }));
    expect(vendor.submits[0]?.body).toEqual({
      input: {
        prompt: 'a mill at dawn',
        aspect: '64x48',
        detail: 'high',
        seed: 7,
        output_format: 'png',
        go_fast: true,
      },
    });
  });

  it('of a chat says who said what, and is bounded as it was priced', async () => {
    vendor.plan({ output: ['Good', ' day'] }, { output: 'Good day', tokens: [21, 2] });
    const deltas: string[] = [];
    const bounds = { max_output_tokens: 77 };
    const one = await provider.call(
      at(),
      callOf('chat', hello, { bounds, onDelta: (delta) => deltas.push(delta) }),
    );
    expect(one).toMatchObject({ type: 'succeeded', output: { kind: 'chat', text: 'Good day' }, usage: null });
    expect(deltas.map((delta) => JSON.parse(delta).content)).toEqual(['Good day']);
    const messages = [
      { role: 'system', content: 'Be short.' },
      { role: 'user', content: [{ type: 'text', text: 'Hello' }] },
      { role: 'assistant', content: 'Yes?' },
      { role: 'user', content: 'Flour?' },
    ];
    const talk = callOf('chat', { messages, temperature: 0.5, max_tokens: 900 }, { bounds });
    expect(await provider.call(at({}, { timed: true }), talk)).toMatchObject({
      usage: [
        { name: 'token', measure: 'input', quantity: 21 },
        { name: 'token', measure: 'output', quantity: 2 },
        { name: 'millisecond', measure: 'output', quantity: 1_250 },
      ],
    });
    expect(vendor.submits.map(({ body }) => body.input)).toEqual([
      { prompt: hello.messages[0]?.content, max_tokens: 77 },
      {
        prompt: 'user: Hello\n\nassistant: Yes?\n\nuser: Flour?\n\nassistant:',
        system_prompt: 'Be short.',
        temperature: 0.5,
        max_tokens: 77,
      },
    ]);
  });

  it('of audio carries it as data, or where it is long as an upload', async () => {
    const heard = { segments: [{ start: 0, end: 0.4, text: ' A mill.' }], transcription: ' A mill.' };
    const audioOf = (bytes: Buffer): Call['artifact'] => ({
      contentType: 'audio/wav',
      bytes: bytes.length,
      durationMs: null,
      open: async () => Readable.from([bytes.subarray(0, 50), bytes.subarray(50)]),
    });
    const [short, long] = [tone(16_000, 0.5), tone(48_000, 12)];
    for (const audio of [short, long]) {
      vendor.plan({ output: heard });
      const call = callOf('stt', { language: 'en', artifact: 'art_x' }, { artifact: audioOf(audio) });
      expect(await provider.call(at(), call)).toMatchObject({
        type: 'succeeded',
        output: { text: 'A mill.' },
      });
    }
    expect(vendor.submits.map(({ body }) => body.input)).toEqual([
      { audio: `data:audio/wav;base64,${short.toString('base64')}`, language: 'en' },
      { audio: `${vendor.origin}/v1/files/file_1`, language: 'en' },
    ]);
    expect(vendor.uploads).toHaveLength(1);
    expect(vendor.uploads[0]?.includes(long)).toBe(true);
  });

  it('of audio that storage does not give is not the vendor’s fault, and begins nothing', async () => {
    const open = (): Promise<Readable> => Promise.reject(new Error('the disk is gone'));
    for (const bytes of [1_000, 1_000_000]) {
      const artifact = { contentType: 'audio/wav', bytes, durationMs: null, open };
      const call = callOf('stt', { artifact: 'art_x' }, { artifact });
      expect(await provider.call(at(), call)).toMatchObject({ type: 'failed', code: 'storage_unavailable' });
    }
    expect(vendor.submits).toEqual([]);
  });
});

describe('what becomes of a submit', () => {
  const refused: [number, Partial<CallResult & { type: 'failed' }>][] = [
    [401, { code: 'provider_unavailable', oursToMend: true }],
    [402, { code: 'provider_unavailable', oursToMend: true }],
    [403, { code: 'provider_unavailable', oursToMend: true }],
    [422, { code: 'provider_rejected', retryable: false }],
    [404, { code: 'provider_rejected', retryable: false }],
    [429, { code: 'provider_rate_limited', retryable: true }],
    [500, { code: 'provider_unavailable', retryable: true }],
    [503, { code: 'provider_unavailable', retryable: true }],
  ];
  it.each(refused)('is told by %i', async (status, as) => {
    vendor.plan({ submit: status });
    expect(await provider.call(at(), image())).toMatchObject({ type: 'failed', ...as });
  });

  it('is open where the answer was lost, cut or did not come: it is looked for, and found', async () => {
    for (const submit of ['lost', 'cut', 'hang'] as const) {
      const call = image();
      vendor.plan({ submit, workMs: 30 }, {}, {}, {});
      expect(await provider.call(at(), call)).toMatchObject({ type: 'ambiguous', evidence: { sent: true } });
      // Others come after it, so that it stands on a later page.
      for (let others = 0; others < 3; others++) await provider.call(at(), image());
      const names: string[] = [];
      const found = await provider.lookup!(
        at(),
        { ...call, onRemoteId: async (id) => void names.push(id) },
        earlierOf(call),
      );
      expect(found).toMatchObject({ type: 'succeeded', output: { images: [{ width: 64, height: 48 }] } });
      expect(names).toEqual([vendor.submits.at(-4)?.id]);
    }
  });

  it('is found behind a gateway that failed', async () => {
    vendor.plan({ submit: 502, begins: true });
    expect(await provider.call(at(), image())).toMatchObject({ type: 'succeeded' });
    expect(vendor.submits).toHaveLength(1);
  });

  it('stays open where nothing tells it apart: without an address, or one that is not listed', async () => {
    for (const [plan, callbackUrl] of [
      [{ submit: 'lost' }, null],
      [{ submit: 'lost', unlisted: true }, 'https://mill.example/v1/callbacks/unlisted'],
    ] as const) {
      const call = image({ callbackUrl });
      vendor.plan(plan);
      expect(await provider.call(at(), call)).toMatchObject({ type: 'ambiguous' });
      expect(await provider.lookup!(at(), call, earlierOf(call))).toBeNull();
    }
  });

  it('is not made once we are told to stop, and one that was made has its name', async () => {
    const controller = new AbortController();
    const names: string[] = [];
    const call = image({ signal: controller.signal, onRemoteId: async (id) => void names.push(id) });
    controller.abort();
    expect(await provider.call(at(), call)).toMatchObject({ type: 'stopped', evidence: { sent: false } });
    const later = new AbortController();
    vendor.plan({ workMs: 60_000 });
    const second = image({
      signal: later.signal,
      onRemoteId: async (id) => void names.push(id),
      pause: async () => later.abort(),
    });
    expect(await provider.call(at(), second)).toMatchObject({ type: 'stopped', evidence: { sent: true } });
    expect(names).toEqual([vendor.submits[0]?.id]);
    expect(await provider.stop!(at(), { ...second, remoteId: names[0]! })).toBe(true);
  });
});

describe('polls', () => {
  it('go on through what is lost, refused or not known, and the operator hears of it at once', async () => {
    vendor.plan({
      workMs: 150,
      statuses: ['starting', 'warming', 'warming', 'processing'],
      polls: ['drop', 500, 404, 404, 403],
    });
    const told: string[] = [];
    const result = await provider.call(at(), image({ tell: (note) => void told.push(note) }));
    expect(result.type).toBe('succeeded');
    expect(told).toEqual(['a poll was answered with HTTP 403']);
    expect(result.evidence.note).toContain('HTTP 403');
    vendor.plan({ workMs: 1_000, statuses: ['starting', 'warming', 'warming'] });
    const again = await provider.call(at(), image({ tell: (note) => void told.push(note) }));
    expect(again).toMatchObject({
      type: 'succeeded',
      evidence: { note: expect.stringContaining('warming') },
    });
    expect(told).toHaveLength(2);
  });

  it('slow down, and obey Retry-After', async () => {
    const pauses: number[] = [];
    const controller = new AbortController();
    vendor.plan({ workMs: 60_000, polls: [500, 429] });
    const pause = async (ms: number) => {
      if (pauses.push(ms) === 6) controller.abort();
    };
    expect(await provider.call(at(), image({ pause, signal: controller.signal }))).toMatchObject({
      type: 'stopped',
    });
    expect(pauses).toEqual([5, 1_000, 11.25, 16.875, 20, 20]);
  });

  it('end where the work failed, was canceled, is forgotten, or takes too long', async () => {
    const failed = { type: 'failed', retryable: true };
    vendor.plan({ ends: 'failed', error: 'CUDA out of memory' });
    expect(await provider.call(at({}, { timed: true }), image())).toMatchObject({
      ...failed,
      code: 'provider_unavailable',
      message: expect.stringContaining('CUDA out of memory'),
      billed: [{ name: 'millisecond', measure: 'output', quantity: 1250 }],
    });
    vendor.plan({ ends: 'failed', error: 'NSFW content detected. Try running it again' });
    expect(await provider.call(at(), image())).toMatchObject({ code: 'content_refused', retryable: false });
    for (const ends of ['canceled', 'aborted'] as const) {
      vendor.plan({ ends });
      expect(await provider.call(at(), image())).toMatchObject({ ...failed, code: 'provider_unavailable' });
    }
    vendor.plan({ workMs: 60_000, polls: [404, 404, 404, 404] });
    expect(await provider.call(at(), image())).toMatchObject({ ...failed, code: 'provider_unavailable' });
    vendor.plan({ workMs: 60_000 });
    const speech = callOf('tts', { input: 'Hello' });
    expect(await provider.call(at(), speech)).toMatchObject({ ...failed, code: 'provider_timeout' });
    expect(await provider.lookup!(at(), image(), earlierOf(image(), 'nobody'))).toBeNull();
  });
});

describe('stop', () => {
  it('is confirmed by the prediction alone, and finds work by its address', async () => {
    vendor.plan({ workMs: 60_000 }, { workMs: 60_000, cancel: 'deaf' }, {});
    for (const confirmed of [true, false, false]) {
      const call = image();
      const controller = new AbortController();
      const running = provider.call(at(), { ...call, signal: controller.signal });
      await expect
        .poll(() => vendor.submits.some(({ body }) => body.webhook === call.callbackUrl))
        .toBe(true);
      const id = vendor.submits.at(-1)!.id!;
      if (vendor.works.get(id)!.plan.workMs === undefined) await running;
      expect(await provider.stop!(at(), { ...call, remoteId: null })).toBe(confirmed);
      expect(await provider.stop!(at(), { ...call, remoteId: id })).toBe(confirmed);
      controller.abort();
      await running;
    }
    expect(await provider.stop!(at(), { ...image(), remoteId: 'nobody' })).toBe(false);
    expect(await provider.stop!(at(), { ...image(), remoteId: null })).toBe(false);
  });
});
