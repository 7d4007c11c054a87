// Images, speech and transcriptions of a vendor, from the operator's first word of them to the credit that is charged.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { wavFile } from '../../src/domain/wav.ts';
import { pngFile } from '../../src/providers/sim/draw/png.ts';
import { type MediaVendor, mp3, refusal, startMediaVendor, VENDOR_KEY } from '../support/media-vendor.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';

let millrace: TestPlatform;
let vendor: MediaVendor;
let account: TestAccount;
let credits = 0;
beforeAll(async () => {
  vendor = await startMediaVendor();
  millrace = await startPlatform();
  account = await millrace.account();
  credits = await available();
});
afterAll(async () => {
  await millrace.stop();
  await vendor.close();
});

const line = (unit: string, credits_per_million: string) => {
  const [name, measure] = unit.split(' ');
  return { name, measure, credits_per_million };
};
const TOKENS = [line('token input', '5000000'), line('token output', '40000000')];

async function sell(
  model: string,
  { lines, route = {}, ...body }: { kind: string; lines: object[]; data?: object; route?: object },
): Promise<void> {
  const { admin } = millrace;
  const api = { base_url: vendor.url, api_key: VENDOR_KEY };
  const answers = [
    await admin.send('PUT', `/v1/admin/models/${model}`, { body }),
    await admin.post('/v1/admin/prices', { model, lines }),
    await admin.post('/v1/admin/routes', { model, provider: 'openai', ...api, ...route }),
  ];
  expect(answers.map(({ status }) => status)).toEqual([200, 201, 201]);
}

async function upload(bytes: Buffer, type: string) {
  const form = new FormData();
  form.append('file', new Blob([new Uint8Array(bytes)], { type }), 'upload');
  const headers = { authorization: `Bearer ${account.key}` };
  const response = await fetch(`${millrace.url}/v1/artifacts`, { method: 'POST', headers, body: form });
  expect(response.status).toBe(201);
  return (await response.json()) as {
    id: string;
    content_type: string;
    duration_ms: number | null;
    width: number;
  };
}

const available = async (): Promise<number> =>
  (await account.get('/v1/account')).body.balance.available.credits as number;

/** Runs it, and finds that the balance fell by its cost and by nothing else. */
async function charged(job: Record<string, unknown>) {
  const ended = await account.run(job);
  credits -= ended.cost.credits;
  expect(await available()).toBe(credits);
  return ended;
}

const content = async ({ artifact_id: id }: { artifact_id: string }): Promise<Buffer> => {
  const headers = { authorization: `Bearer ${account.key}` };
  const response = await fetch(`${millrace.url}/v1/artifacts/${id}/content`, { headers });
  return Buffer.from(await response.arrayBuffer());
};

describe('images', () => {
  it('are sold by the image, made at the size that was asked for, and kept', async () => {
    await sell('mill/paint', {
      kind: 'image',
      data: { default_size: '96x64', max_side: 512 },
      lines: [line('image output', '80000000000')],
      route: { upstream_model: 'dall-e-9', cost: [line('image output', '40000000000')] },
    });
    const job = await charged({ model: 'mill/paint', input: { prompt: 'a mill', n: 2 } });
    expect(job).toMatchObject({
      status: 'succeeded',
      bounds: { n: 2, size: '96x64' },
      usage: [{ name: 'image', measure: 'output', quantity: 2 }],
      hold: { credits: 160_000 },
      cost: { credits: 160_000 },
    });
    const [image] = job.output.images;
    expect(image).toMatchObject({
      content_type: 'image/png',
      width: 96,
      height: 64,
      revised_prompt: 'a fine mill',
    });
    expect((await content(image)).subarray(1, 4).toString()).toBe('PNG');
    expect(vendor.received.at(-1)?.fields).toMatchObject({ model: 'dall-e-9', n: 2, size: '96x64' });
  });

  it('are sold by the tokens that the vendor reports, and edited from an artifact', async () => {
    await sell('mill/edit', {
      kind: 'image',
      data: { default_size: '64x64', image_tokens: 300, attachment_tokens: 500 },
      lines: TOKENS,
      route: { upstream_model: 'gpt-image-9', data: { fields: ['artifact', 'quality'] } },
    });
    const png = await pngFile({ width: 20, height: 10, rgb: Buffer.alloc(600) });
    const { id, ...artifact } = await upload(png, 'application/octet-stream');
    expect(artifact).toMatchObject({ content_type: 'image/png', width: 20, height: 10 });
    const job = await charged({
      model: 'mill/edit',
      input: { prompt: 'at night', artifact: id, quality: 'low' },
    });
    expect(job).toMatchObject({
      status: 'succeeded',
      hold: { credits: 5 * (8 + 500) + 40 * 300 },
      cost: { credits: 5 * 50 + 40 * 280 },
    });
    expect(job.usage).toContainEqual({ name: 'token', measure: 'output', quantity: 280 });
    const { path, files } = vendor.received.at(-1)!;
    expect([path, files[0]?.name, files[0]?.bytes.equals(png)]).toEqual(['/images/edits', 'image.png', true]);
  });

  it('are refused where the route does not take what is asked for', async () => {
    const refused = async (model: string, input: object) => {
      const { status, body } = await account.post('/v1/jobs', { model, input: { prompt: 'a', ...input } });
      return [status, body.code, body.details.issues?.[0].path ?? body.details.field];
    };
    const { id } = await upload(mp3(3), 'audio/mpeg');
    expect(await refused('mill/paint', { quality: 'hd' })).toEqual([400, 'invalid_request', 'input.quality']);
    expect(await refused('mill/paint', { sim: {} })).toEqual([400, 'invalid_request', 'input.sim']);
    expect(await refused('mill/paint', { artifact: id })).toEqual([
      422,
      'input_unsupported',
      'input.artifact',
    ]);
    expect(await refused('mill/edit', { artifact: id })).toEqual([
      422,
      'input_unsupported',
      'input.artifact',
    ]);
    expect(await refused('mill/edit', { artifact: 'art_none' })).toEqual([
      404,
      'not_found',
      'input.artifact',
    ]);
    expect(await refused('sim/image', { artifact: id })).toEqual([
      422,
      'input_unsupported',
      'input.artifact',
    ]);
  });

  it('that the content policy refuses are free, and not tried again', async () => {
    const before = vendor.received.length;
    vendor.says(refusal(400, 'moderation_blocked'));
    const job = await charged({ model: 'mill/paint', input: { prompt: 'a mill' } });
    expect(job).toMatchObject({ status: 'failed', error: { code: 'content_refused' }, cost: { credits: 0 } });
    expect(vendor.received.length).toBe(before + 1);
  });

  it('that the content policy refuses are charged where the model says so, as if they had been made', async () => {
    await sell('mill/strict', {
      kind: 'image',
      data: { default_size: '64x64', charge_refused: true, image_tokens: 300 },
      lines: TOKENS,
    });
    vendor.says(refusal(400, 'content_policy_violation'));
    const job = await charged({ model: 'mill/strict', input: { prompt: 'a mill', n: 2 } });
    expect(job).toMatchObject({ status: 'failed', error: { code: 'content_refused' } });
    expect(job.cost.credits).toBe(5 * 2 + 40 * 600);
  });

  it('are made at the second attempt where the first was malformed', async () => {
    vendor.says({ body: { data: [{ b64_json: 'AAAA' }] } });
    const job = await charged({ model: 'mill/paint', input: { prompt: 'a mill' } });
    expect(job).toMatchObject({ status: 'succeeded', attempt: 2, cost: { credits: 80_000 } });
  });
});

describe('speech', () => {
  it('is sold by the character, each that a reader would count', async () => {
    await sell('mill/voice', {
      kind: 'tts',
      lines: [line('character input', '30000000')],
      route: { data: { voice: 'miller' } },
    });
    const job = await charged({ model: 'mill/voice', input: { input: 'Wheel 🌊' } });
    expect(job).toMatchObject({
      status: 'succeeded',
      bounds: { characters: 7 },
      usage: [{ name: 'character', measure: 'input', quantity: 7 }],
      cost: { credits: 210 },
      output: { audio: { content_type: 'audio/mpeg', duration_ms: 1_307, sample_rate: 44_100 } },
    });
    expect(await content(job.output.audio)).toEqual(mp3(50));
    expect(vendor.received.at(-1)?.fields).toMatchObject({ model: 'mill/voice', voice: 'miller' });
  });

  it('is sold by the tokens that a stream reports at its end', async () => {
    await sell('mill/singer', {
      kind: 'tts',
      data: { tokens_per_character: 20 },
      lines: TOKENS,
      route: { data: { fields: ['stream_format'] } },
    });
    const input = { input: 'Good day', response_format: 'wav' };
    const job = await charged({ model: 'mill/singer', input });
    expect(job).toMatchObject({
      status: 'succeeded',
      hold: { credits: 5 * 8 + 40 * 160 },
      cost: { credits: 5 * 14 + 40 * 101 },
      output: { audio: { content_type: 'audio/wav', duration_ms: 400 } },
    });
    // One that reports none is charged what was counted: the vendor's bound, and four bytes a token.
    vendor.says({ type: 'audio/wav', body: wavFile(new Int16Array(16_000)) });
    expect((await charged({ model: 'mill/singer', input })).cost.credits).toBe(5 * 2 + 40 * 160);
  });

  it('whose length nobody can tell is an artifact without one', async () => {
    vendor.says({ type: 'audio/ogg', body: Buffer.from('OggS\0\x02 and then nothing that is Ogg') });
    const job = await charged({ model: 'mill/voice', input: { input: 'x', response_format: 'opus' } });
    expect(job.output.audio).toMatchObject({
      content_type: 'audio/ogg',
      duration_ms: null,
      sample_rate: null,
    });
    const { body } = await account.get(`/v1/artifacts/${job.output.audio.artifact_id}`);
    expect(body).toMatchObject({ content_type: 'audio/ogg', duration_ms: null });
  });
});

describe('a transcription', () => {
  const media = (name: string): Buffer => readFileSync(join(import.meta.dirname, '../domain/media', name));

  it('is sold by the millisecond of what was uploaded', async () => {
    await sell('mill/ear', {
      kind: 'stt',
      lines: [line('millisecond input', '200000')],
      route: { upstream_model: 'whisper-1' },
    });
    const { id, duration_ms } = await upload(wavFile(new Int16Array(40_000)), 'audio/wav');
    expect(duration_ms).toBe(2_500);
    const job = await charged({ model: 'mill/ear', input: { artifact: id, language: 'en' } });
    expect(job).toMatchObject({
      status: 'succeeded',
      bounds: { audio_ms: 2_500 },
      usage: [{ name: 'millisecond', measure: 'input', quantity: 2_500 }],
      cost: { credits: 500 },
      output: { text: 'The wheel turns. The miller sleeps.', language: 'en', duration_ms: 2_500 },
    });
    expect(job.output.segments).toHaveLength(2);
  });

  it.each([
    ['tone.mp3', 'mp3', 1_224],
    ['tone.m4a', 'm4a', 1_152],
    ['tone.ogg', 'ogg', 1_020],
    ['live.webm', 'webm', 1_021],
    ['streamed.flac', 'flac', 1_000],
  ])(
    'of %s is held for its length, uploaded or sent along, and reaches the vendor as one',
    async (name, ending, ms) => {
      const bytes = media(name);
      const { id, duration_ms } = await upload(bytes, 'application/octet-stream');
      expect(duration_ms).toBe(ms);
      for (const input of [{ artifact: id }, { audio: bytes.toString('base64') }]) {
        vendor.says({ type: 'application/json', body: { text: 'x' } });
        const job = await charged({ model: 'mill/ear', input });
        expect(job).toMatchObject({
          status: 'succeeded',
          bounds: { audio_ms: ms },
          cost: { credits: Math.ceil(ms / 5) },
          output: { duration_ms: ms, language: null },
        });
        const [file] = vendor.received.at(-1)?.files ?? [];
        expect([file?.name, file?.bytes.equals(bytes)]).toEqual([`file.${ending}`, true]);
      }
    },
  );

  it('is sold by the tokens that the vendor reports', async () => {
    await sell('mill/scribe', {
      kind: 'stt',
      data: { input_tokens_per_second: 10, output_tokens_per_second: 20 },
      lines: TOKENS,
      route: { upstream_model: 'gpt-4o-mini-transcribe' },
    });
    const { id } = await upload(wavFile(new Int16Array(40_000)), 'audio/wav');
    const job = await charged({ model: 'mill/scribe', input: { artifact: id } });
    expect(job).toMatchObject({
      hold: { credits: 5 * 25 + 40 * 50 },
      cost: { credits: 5 * 14 + 40 * 45 },
      output: { duration_ms: 2_500, segments: [] },
    });
  });

  it('never costs more than was held, whatever the vendor reports', async () => {
    const { id } = await upload(wavFile(new Int16Array(16_000)), 'audio/wav');
    vendor.says({ body: { text: 'x', usage: { type: 'duration', seconds: 3_600 } } });
    const job = await charged({ model: 'mill/ear', input: { artifact: id } });
    expect([job.hold.credits, job.cost.credits]).toEqual([200, 200]);
  });
});

it('leaves books that are right', async () => {
  const { body } = await millrace.admin.get('/v1/admin/invariants');
  expect(body).toMatchObject({ ok: true, breaches: [] });
});
