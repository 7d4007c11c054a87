import { describe, expect, it } from 'vitest';
import { wavFile } from '../../../src/domain/wav.ts';
import { mp3 } from '../../support/media-vendor.ts';
import { bench, outputOf } from './media.ts';

const one = bench({ idleMs: 1_000 });
const last = () => one.vendor.received.at(-1)!;
const malformed = { type: 'failed', code: 'provider_malformed', retryable: true };
const SSE = { fields: ['stream_format'] };

describe('speech', () => {
  it('is asked for as the client put it, with a voice of the route where it named none', async () => {
    const input = { input: 'Good day', response_format: 'wav', speed: 1.5, instructions: 'sing', sim: {} };
    await one.call('tts', input, { data: { voice: 'miller' } });
    expect(last().path).toBe('/audio/speech');
    expect(last().fields).toEqual({
      model: 'mill-1',
      input: 'Good day',
      voice: 'miller',
      response_format: 'wav',
      speed: 1.5,
    });
    await one.call(
      'tts',
      { ...input, voice: 'alto' },
      { data: { fields: ['instructions'], leave_out: ['speed'] } },
    );
    expect(last().fields).toMatchObject({ voice: 'alto', instructions: 'sing' });
    expect(last().fields).not.toHaveProperty('speed');
  });

  it.each([
    ['wav', { contentType: 'audio/wav', durationMs: 400, sampleRate: 16_000 }],
    ['pcm', { contentType: 'audio/pcm;rate=16000', durationMs: 400, sampleRate: 16_000 }],
    [undefined, { contentType: 'audio/mpeg', durationMs: 1_307, sampleRate: 44_100 }],
  ])('in %s lasts as long as its bytes say', async (form, sound) => {
    const result = await one.call(
      'tts',
      { input: 'Good day', response_format: form },
      { data: { pcm_rate: 16_000 } },
    );
    expect(outputOf(result, 'tts')).toMatchObject(sound);
    expect(result).toMatchObject({ usage: null });
  });

  it('is what came, whatever was asked for and however it was announced', async () => {
    one.vendor.says({ type: 'application/octet-stream', body: mp3(10) });
    const result = await one.call('tts', { input: 'x', response_format: 'wav' });
    expect(outputOf(result, 'tts')).toMatchObject({ contentType: 'audio/mpeg', durationMs: 262 });
  });

  it('in a form that nobody can measure has no length', async () => {
    one.vendor.says({ type: 'audio/ogg', body: Buffer.from('OggS\0\x02 and then nothing that is Ogg') });
    const result = await one.call('tts', { input: 'x', response_format: 'opus' });
    expect(outputOf(result, 'tts')).toMatchObject({ contentType: 'audio/ogg', durationMs: null });
  });

  it('in events is put together, and its tokens are told', async () => {
    const result = await one.call('tts', { input: 'Good day', response_format: 'wav' }, { data: SSE });
    expect(last().fields).toMatchObject({ stream_format: 'sse' });
    expect(outputOf(result, 'tts')).toMatchObject({ contentType: 'audio/wav', durationMs: 400 });
    expect(result).toMatchObject({
      usage: [
        { name: 'token', measure: 'input', quantity: 14 },
        { name: 'token', measure: 'output', quantity: 101 },
      ],
    });
  });

  const delta = `data: {"type":"speech.audio.delta","audio":"${mp3(1).toString('base64')}"}\n\n`;
  it.each([
    ['ends early', delta, 'the stream ended early'],
    ['is no JSON', `${delta}data: {"type\n\n`, 'an event that is no JSON'],
    ['brings no sound', 'data: {"type":"speech.audio.done","usage":{}}\n\n', 'no sound'],
  ])('in events, that %s, is malformed', async (_, body, note) => {
    one.vendor.says({ type: 'text/event-stream', body });
    expect(await one.call('tts', { input: 'x' }, { data: SSE })).toMatchObject({
      ...malformed,
      evidence: { note },
    });
  });

  it('in events counts an error among them as what it is, and a silence as a timeout', async () => {
    const error = 'data: {"type":"error","error":{"code":"content_policy_violation","message":"no"}}\n\n';
    one.vendor.says({ type: 'text/event-stream', body: delta + error });
    expect(await one.call('tts', { input: 'x' }, { data: SSE })).toMatchObject({ code: 'content_refused' });
    one.vendor.says({ type: 'text/event-stream', body: delta.repeat(2), hang: true });
    expect(await one.call('tts', { input: 'x' }, { data: SSE })).toMatchObject({ code: 'provider_timeout' });
  });

  const wav = wavFile(new Int16Array(8_000));
  it.each([
    ['nothing', 'audio/mpeg', ''],
    ['a page', 'text/html', '<html>hello</html>'],
    ['an object', 'application/json', '{"text":"hello"}'],
    ['a WAV that is cut off', 'audio/wav', wav.subarray(0, 9_000)],
    ['a WAV that is none', 'audio/wav', Buffer.concat([wav.subarray(0, 12), Buffer.alloc(40)])],
    ['a picture', 'audio/mpeg', Buffer.from([0x89, 0x50, 0x4e, 0x47, 1, 2, 3, 4])],
  ])('that is %s is malformed', async (_, type, body) => {
    one.vendor.says({ type, body });
    expect(await one.call('tts', { input: 'x' })).toMatchObject(malformed);
  });

  it.each([
    ['an object', 'audio/pcm', '{"error":"down"}'],
    ['a page', 'audio/pcm', '<!DOCTYPE html><p>down'],
    ['called a text', 'text/html; charset=utf-8', Buffer.alloc(100, 7)],
  ])('as bare samples that are %s is malformed', async (_, type, body) => {
    one.vendor.says({ type, body });
    expect(await one.call('tts', { input: 'x', response_format: 'pcm' })).toMatchObject(malformed);
  });

  it('as bare samples that look like the beginning of an MP3 stays bare samples', async () => {
    one.vendor.says({ type: 'audio/pcm', body: mp3(10) });
    const result = await one.call('tts', { input: 'x', response_format: 'pcm' });
    expect(outputOf(result, 'tts')).toMatchObject({ contentType: 'audio/pcm;rate=24000', durationMs: 87 });
  });

  it('of a WAV that was streamed, with no length in its header, is taken', async () => {
    const streamed = Buffer.from(wav);
    streamed.writeUInt32LE(0xffff_ffff, 4);
    streamed.writeUInt32LE(0xffff_ffff, 40);
    one.vendor.says({ type: 'audio/wav', body: streamed });
    expect(outputOf(await one.call('tts', { input: 'x' }), 'tts')).toMatchObject({ durationMs: 500 });
  });
});
