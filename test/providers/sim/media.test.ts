import { describe, expect, it } from 'vitest';
import { speak } from '../../../src/providers/sim/sound/speak.ts';
import { pcmBytes } from '../../../src/domain/wav.ts';
import { json, post, sim } from './client.ts';

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
