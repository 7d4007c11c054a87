import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { OpenedArtifact } from '../../../src/providers/provider.ts';
import { artifactOf, bench, outputOf, WAV } from './media.ts';

const one = bench();
const last = () => one.vendor.received.at(-1)!;
const artifact = artifactOf(WAV, 'audio/wav', 2_500);
const TEXT = 'The wheel turns. The miller sleeps.';
const SEGMENTS = [
  { start_ms: 0, end_ms: 1_250, text: 'The wheel turns.' },
  { start_ms: 1_250, end_ms: 2_500, text: 'The miller sleeps.' },
];
const format = (transcript_format: 'json' | 'text' | 'srt' | 'vtt' | 'verbose_json') => ({
  data: { transcript_format },
});

describe('a transcription', () => {
  it('is asked for by a form that carries the audio, its name and type', async () => {
    const input = { artifact: 'art_1', language: 'en', prompt: 'mills\r\n"x"', max_seconds: 9, sim: {} };
    await one.call('stt', input, { artifact, bounds: { audio_ms: 2_500 } });
    expect(last().path).toBe('/audio/transcriptions');
    expect(last().fields).toEqual({
      model: 'mill-1',
      response_format: 'verbose_json',
      language: 'en',
      prompt: 'mills\r\n"x"',
    });
    expect(last().files).toEqual([{ field: 'file', name: 'file.wav', type: 'audio/wav', bytes: WAV }]);
    await one.call('stt', input, {
      artifact: artifactOf(WAV, 'audio/x-m4a'),
      data: { leave_out: ['prompt'] },
    });
    expect(last().files[0]).toMatchObject({ name: 'file.m4a', type: 'audio/x-m4a' });
    expect(last().fields).not.toHaveProperty('prompt');
  });

  it.each([
    ['verbose_json', { language: 'en', segments: SEGMENTS }, null],
    ['json', { language: null, segments: [] }, [{ name: 'millisecond', measure: 'input', quantity: 3_000 }]],
    ['text', { language: null, segments: [] }, null],
    ['srt', { language: null, segments: SEGMENTS }, null],
    ['vtt', { language: null, segments: SEGMENTS }, null],
  ] as const)('is understood as %s', async (form, said, usage) => {
    const result = await one.call('stt', {}, { artifact, ...format(form) });
    expect(last().fields).toMatchObject({ response_format: form });
    expect(outputOf(result, 'stt')).toEqual({ kind: 'stt', text: TEXT, durationMs: 2_500, ...said });
    expect(result).toMatchObject({ usage });
  });

  it('by a model that knows `json` alone is asked for that, and tells its tokens', async () => {
    const result = await one.call('stt', {}, { artifact, upstreamModel: 'gpt-4o-mini-transcribe' });
    expect(last().fields).toMatchObject({ response_format: 'json' });
    expect(outputOf(result, 'stt')).toMatchObject({ text: TEXT, durationMs: 2_500 });
    expect(result).toMatchObject({
      usage: [
        { name: 'token', measure: 'input', quantity: 14 },
        { name: 'token', measure: 'output', quantity: 45 },
      ],
    });
  });

  it('lasts as long as the vendor says, else as we measured, else nobody knows', async () => {
    const duration = async (body: object, known: number | null): Promise<number | null> => {
      one.vendor.says({ body: { text: 'x', ...body } });
      const heard = await one.call('stt', {}, { artifact: artifactOf(WAV, 'audio/wav', known) });
      return outputOf(heard, 'stt').durationMs;
    };
    expect(await duration({ duration: '1.5' }, 2_500)).toBe(1_500);
    expect(await duration({ duration: -1 }, 2_500)).toBe(2_500);
    expect(await duration({}, null)).toBeNull();
  });

  it.each([
    ['json where text was asked for', 'text', 'application/json', '{"text":"hello"}', 'hello'],
    ['a text in quotes', 'text', 'application/json', '"hello"', 'hello'],
    ['a text that is a number', 'text', 'text/plain', '42\n', '42'],
    ['SubRip for WebVTT', 'vtt', 'text/plain', '1\n00:00:00,000 --> 00:00:01,000\nhello\n', 'hello'],
    [
      'no hours, a name, marks',
      'vtt',
      'text/vtt',
      'WEBVTT - x\n\nNOTE a\n\nintro\n00:01.000 --> 00:02.000 align:left\n<v Bob>a &amp; <i>b</i></v>\nc\n',
      'a & b c',
    ],
    [
      'a long row of blanks',
      'srt',
      'text/plain',
      `1\n00:00:00,000 --> 00:00:01,000\na${' '.repeat(300_000)}b\n`,
      /^a +b$/,
    ],
    ['nothing that was said', 'srt', 'text/plain', '\n', ''],
    ['no cue at all', 'vtt', 'text/vtt', 'WEBVTT\n\n', ''],
    [
      'line ends of two characters',
      'srt',
      'text/plain',
      '1\r\n00:00:00,000 --> 00:00:01,000\r\na\r\nb\r\n\r\n2\r\n00:00:01,000 --> 00:00:02,000\r\nc\r\n',
      'a b c',
    ],
  ] as const)('understands %s', async (_, form, type, body, text) => {
    one.vendor.says({ type, body });
    expect(outputOf(await one.call('stt', {}, { artifact, ...format(form) }), 'stt').text).toMatch(
      typeof text === 'string' ? new RegExp(`^${text}$`) : text,
    );
  });

  it.each([
    ['nothing', 'text', 'text/plain', ''],
    ['a page', 'text', 'text/html', '<html>hi</html>'],
    ['a page called a text', 'text', 'text/plain', '<!doctype html><p>hi'],
    ['half of it', 'verbose_json', 'application/json', '{"text":"hel'],
    ['a text where JSON was asked for', 'json', 'text/plain', 'hello'],
    ['no text', 'json', 'application/json', '{"transcript":"hello"}'],
    ['segments without times', 'verbose_json', 'application/json', '{"text":"a","segments":[{"text":"a"}]}'],
    ['a cue without times', 'srt', 'text/plain', '1\nhello\n'],
    ['times cut off', 'srt', 'text/plain', '1\n00:00:00,000 --> 00:00:0'],
    ['WebVTT without its name', 'vtt', 'text/vtt', 'hello'],
    ['a list', 'json', 'application/json', '[]'],
  ] as const)('takes %s for malformed', async (_, form, type, body) => {
    one.vendor.says({ type, body });
    expect(await one.call('stt', {}, { artifact, ...format(form) })).toMatchObject({
      type: 'failed',
      code: 'provider_malformed',
      retryable: true,
    });
  });

  it('cannot be made to say more than its fields by what the audio holds', async () => {
    const boundary = /boundary=(.*)$/.exec(String(last().headers['content-type']))?.[1];
    const evil = Buffer.concat([
      WAV,
      Buffer.from(
        `\r\n--${boundary}\r\ncontent-disposition: form-data; name="model"\r\n\r\ndearer\r\n--${boundary}--\r\n`,
      ),
    ]);
    await one.call('stt', {}, { artifact: artifactOf(evil, 'audio/wav') });
    expect(last().fields).toEqual({ model: 'mill-1', response_format: 'verbose_json' });
    expect(last().files[0]?.bytes.equals(evil)).toBe(true);
  });

  it("whose audio cannot be read is not the vendor's fault", async () => {
    async function* half() {
      yield WAV.subarray(0, 500);
      throw new Error('the disk is gone');
    }
    const broken: OpenedArtifact = { ...artifact, open: async () => Readable.from(half()) };
    const missing: OpenedArtifact = { ...artifact, open: () => Promise.reject(new Error('gone')) };
    for (const artifact of [broken, missing])
      expect(await one.call('stt', {}, { artifact })).toMatchObject({
        type: 'failed',
        code: 'storage_unavailable',
        retryable: true,
      });
  });
});
