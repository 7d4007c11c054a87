// What models bring: URLs, lists, objects, data; and what they may not lead us to.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Kind } from '../../../src/domain/job.ts';
import type { Call, CallResult, Provider, Route } from '../../../src/providers/provider.ts';
import { mayFetch } from '../../../src/providers/replicate/files.ts';
import { replicateProvider } from '../../../src/providers/replicate/index.ts';
import { type FakeReplicate, startReplicate } from '../../support/replicate.ts';
import { draw, tone } from '../../support/replicate-files.ts';
import { callOf, httpServer, type TestServer, route } from '../support.ts';

let vendor: FakeReplicate;
let elsewhere: TestServer;
let provider: Provider;
/** What another server than the vendor's was asked. */
const strayed: string[] = [];
beforeAll(async () => {
  vendor = await startReplicate();
  elsewhere = await httpServer((request, response) => {
    strayed.push(request.url ?? '');
    response.end('no');
  });
  provider = replicateProvider({ pace: { firstMs: 5, mostMs: 20 }, againMs: [10, 10, 10] });
});
afterAll(async () => {
  await provider.close();
  await elsewhere.close();
  await vendor.close();
});

const at = (rest: Partial<Route> = {}): Route => ({ ...route(vendor.url, 'r8-key'), ...rest });
const INPUTS: Record<Kind, object> = {
  image: { prompt: 'a mill' },
  tts: { input: 'Hello' },
  stt: { artifact: 'art_x' },
  chat: { messages: [] },
};
const audio: Call['artifact'] = {
  contentType: 'audio/wav',
  bytes: 44,
  durationMs: null,
  open: async () => null as never,
};

async function made(kind: Kind, output: unknown, rest: Partial<Call> = {}): Promise<CallResult> {
  vendor.plan({ output });
  return provider.call(at(), callOf(kind, INPUTS[kind], rest));
}

describe('images', () => {
  it('come one or many, from the vendor’s own address with the key, or as data', async () => {
    const png = (await draw('mill.png', 1))!.bytes;
    const url = `${vendor.origin}/files/mill.png`;
    const data = `data:image/png;base64,${png.toString('base64')}`;
    for (const [output, n] of [
      [url, 1],
      [[url, url], 2],
      [{ images: [data] }, 1],
      [data, 1],
    ] as const) {
      const result = await made('image', output);
      expect(result).toMatchObject({
        type: 'succeeded',
        output: {
          images: Array.from({ length: n }, () => ({ contentType: 'image/png', width: 64, height: 48 })),
        },
        usage: [{ name: 'image', measure: 'output', quantity: n }],
      });
    }
    expect(vendor.fetched.every(({ authorization }) => authorization === 'Bearer r8-key')).toBe(true);
  });

  it('beyond those that were priced are left', async () => {
    const url = `${vendor.origin}/files/mill.png`;
    const result = await made('image', [url, url, url], { bounds: { n: 2 } });
    expect(result).toMatchObject({ usage: [{ quantity: 2 }] });
  });

  it('are tried for again while the vendor fails, and given up in the end', async () => {
    expect(await made('image', `${vendor.origin}/files/late.png`)).toMatchObject({ type: 'succeeded' });
    const gone = await made('image', `${vendor.origin}/files/nothing.png`);
    expect(gone).toMatchObject({ type: 'failed', code: 'provider_unavailable', retryable: true });
    expect(vendor.fetched.filter(({ path }) => path.endsWith('nothing.png'))).toHaveLength(4);
  });

  it('that are none, too large or moved are no result', async () => {
    const at = (name: string) => `${vendor.origin}/files/${name}`;
    expect(await made('image', at('text.png'))).toMatchObject({ code: 'provider_malformed' });
    expect(await made('image', at('huge.png'))).toMatchObject({ code: 'output_too_large', retryable: false });
    const before = vendor.fetched.length;
    expect(await made('image', at('moved.png'))).toMatchObject({ code: 'provider_unavailable' });
    expect(vendor.fetched).toHaveLength(before + 1);
    for (const nothing of [null, [], {}, 7, 'not a URL', [''], { images: [] }])
      expect(await made('image', nothing), JSON.stringify(nothing)).toMatchObject({ type: 'failed' });
  });

  it('of other hosts are not fetched, whatever their names look like', async () => {
    const told: string[] = [];
    const { host } = new URL(elsewhere.baseUrl);
    for (const url of [
      `http://${host}/x.png`,
      `https://${host}/x.png`,
      `http://replicate.delivery@${host}/x.png`,
      `http://${host}/replicate.delivery/x.png`,
      'file:///etc/passwd',
      'http://169.254.169.254/latest/meta-data',
    ]) {
      const result = await made('image', url, { tell: (note) => void told.push(note) });
      expect(result, url).toMatchObject({ type: 'failed', code: 'provider_unavailable', oursToMend: true });
    }
    expect(strayed).toEqual([]);
    expect(told).toHaveLength(6);
  });

  it('may come from hosts that the route names, over https', () => {
    const usual = at({ baseUrl: 'https://api.replicate.com/v1' });
    const own = at({ baseUrl: usual.baseUrl, data: { output_hosts: ['files.mill.example'] } });
    const may = (url: string, of = usual) => mayFetch(new URL(url), of);
    expect(may('https://replicate.delivery/a.png')).toBe(true);
    expect(may('https://pbxt.replicate.delivery/a.png')).toBe(true);
    expect(may('https://api.replicate.com/v1/files/x')).toBe(true);
    expect(may('http://replicate.delivery/a.png')).toBe(false);
    expect(may('https://replicate.delivery:8443/a.png')).toBe(false);
    expect(may('https://replicate.delivery.evil.example/a.png')).toBe(false);
    expect(may('https://notreplicate.delivery/a.png')).toBe(false);
    expect(may('https://user:x@replicate.delivery/a.png')).toBe(false);
    expect(may('https://files.mill.example/a.png', own)).toBe(true);
    expect(may('https://replicate.delivery/a.png', own)).toBe(false);
  });
});

describe('speech and transcripts', () => {
  it('speech is sound, whose length is told where its bytes tell', async () => {
    const spoken = { type: 'succeeded', usage: [{ name: 'character', measure: 'input', quantity: 5 }] };
    const bounds = { characters: 5 };
    expect(await made('tts', `${vendor.origin}/files/mill.wav`, { bounds })).toMatchObject({
      ...spoken,
      output: { contentType: 'audio/wav', durationMs: 500, sampleRate: 16_000 },
    });
    expect(await made('tts', { audio: `${vendor.origin}/files/speech.mp3` }, { bounds })).toMatchObject({
      ...spoken,
      output: { contentType: 'audio/mpeg', durationMs: null, sampleRate: null },
    });
    const cut = `data:;base64,${tone(8_000, 1).subarray(0, 9_000).toString('base64')}`;
    for (const none of [`${vendor.origin}/files/text.png`, cut])
      expect(await made('tts', none)).toMatchObject({ code: 'provider_malformed' });
  });

  it('transcripts come as text, pieces, segments or chunks', async () => {
    const open = async () => (await import('node:stream')).Readable.from([tone(8_000, 1)]);
    const bounds = { audio_ms: 1_000 };
    const heard = (output: unknown) => made('stt', output, { artifact: { ...audio, open } as never, bounds });
    const segments = [{ start_ms: 0, end_ms: 900, text: ' A mill' }];
    const ms = (quantity: number) => [{ name: 'millisecond', measure: 'input', quantity }];
    expect(await heard('A mill')).toMatchObject({
      output: { text: 'A mill', segments: [] },
      usage: ms(1_000),
    });
    expect(await heard(['A', ' mill'])).toMatchObject({ output: { text: 'A mill' } });
    expect(
      await heard({
        transcription: ' A mill',
        detected_language: 'english',
        segments: [{ start: 0, end: 0.9, text: ' A mill' }],
      }),
    ).toMatchObject({ output: { text: 'A mill', language: 'english', segments }, usage: ms(900) });
    expect(await heard({ text: 'A mill', chunks: [{ timestamp: [0, 0.9], text: ' A mill' }] })).toMatchObject(
      {
        output: { text: 'A mill', segments, durationMs: 900 },
      },
    );
    // Of no sound is there so much that its price could not be written.
    expect(await heard({ text: 'x', chunks: [{ timestamp: [0, 1e306], text: 'x' }] })).toMatchObject({
      output: { durationMs: 1_000 },
    });
    for (const nothing of [
      null,
      7,
      { segments: [] },
      { text: 'x', segments: [{ start: 'a' }] },
      { text: 'x', chunks: [{ timestamp: [1e306, 1e307], text: 'x' }] },
    ])
      expect(await heard(nothing)).toMatchObject({ code: 'provider_malformed' });
  });

  it('cost the vendor’s time where the route says so', async () => {
    vendor.plan({ predictTime: 2.5001 });
    const result = await provider.call(at({ timed: true }), callOf('image', INPUTS.image));
    expect(result).toMatchObject({
      usage: [
        { name: 'image', quantity: 1 },
        { name: 'millisecond', measure: 'output', quantity: 2_501 },
      ],
    });
    // Also of work whose result is of no use.
    vendor.plan({ predictTime: 2.5001, output: `${vendor.origin}/files/none.png` });
    expect(await provider.call(at({ timed: true }), callOf('image', INPUTS.image))).toMatchObject({
      type: 'failed',
      billed: [{ name: 'millisecond', measure: 'output', quantity: 2_501 }],
    });
  });
});
