import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { OpenedArtifact } from '../../../src/providers/provider.ts';
import { simProvider } from '../../../src/providers/sim/index.ts';
import { callOf, hello, startSim } from '../support.ts';
import { at, audioOf, logged, output, provider, spoken } from './platform.ts';

async function* halfOfIt(): AsyncGenerator<Buffer> {
  yield Buffer.alloc(500);
  throw new Error('disk');
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
      { artifact: audioOf(speech.bytes), bounds: { audio_ms: speech.durationMs! } },
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
      callOf('stt', {}, { artifact: audioOf(speech.bytes, 'application/octet-stream') }),
    );
    expect(output(heard, 'stt').text).toBe('No header.');
    await ear.close();
    await other.stop();
  });

  it('hears a long upload', async () => {
    const text = 'Grain after grain after grain. '.repeat(240);
    const speech = await spoken({ input: text });
    expect(
      output(await provider.call(at, callOf('stt', {}, { artifact: audioOf(speech.bytes) })), 'stt').text,
    ).toBe(text);
  });

  it('says that it heard nothing, which is final', async () => {
    const result = await provider.call(at, callOf('stt', {}, { artifact: audioOf(Buffer.alloc(99_999)) }));
    expect(result).toMatchObject({
      type: 'failed',
      code: 'provider_rejected',
      retryable: false,
      evidence: { note: 'no_speech' },
    });
  });

  it('says so too when it said at first that it would listen later', async () => {
    const call = callOf('stt', { sim: { fault: 'async' } }, { artifact: audioOf(Buffer.alloc(9_999)) });
    expect(await provider.call(at, call)).toMatchObject({ type: 'failed', evidence: { note: 'no_speech' } });
  });

  it("says when the audio cannot be read, which is not the vendor's fault", async () => {
    const broken: OpenedArtifact = {
      contentType: 'audio/wav',
      bytes: 1_000,
      durationMs: null,
      open: async () => Readable.from(halfOfIt()),
    };
    const missing = { ...broken, open: () => Promise.reject(new Error('gone')) };
    for (const audio of [broken, missing]) {
      expect(await provider.call(at, callOf('stt', {}, { artifact: audio }))).toMatchObject({
        type: 'failed',
        code: 'storage_unavailable',
        retryable: true,
      });
    }
  });
});

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
    expect(await alone.stop!(at, { ...call, remoteId: null })).toBe(false);
    expect(await alone.lookup!(at, call, { attempt: 1, remoteId: null, callbackUrl: null })).toBeNull();
    await alone.close();
  });
});
