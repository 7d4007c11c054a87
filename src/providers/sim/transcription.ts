import { Readable } from 'node:stream';
import { evidenceOf, exchange } from '../exchange.ts';
import { failed, malformed, parsed } from '../failure.ts';
import { isCount } from '../openai/usage.ts';
import type { CallResult } from '../provider.ts';
import { type Asked, type Link, type Reader, requestFor, secretsOf } from './link.ts';
import { resultOf } from './remote.ts';

const MOST_BYTES = 8 << 20;
/** The audio is binary and could hold anything, but not by chance this. */
const BOUNDARY = '----millrace-7d1f0c5b9a3e4826';

export async function simTranscription(link: Link, asked: Asked): Promise<CallResult> {
  const { audio } = asked.call;
  if (!audio) throw new Error('a transcription needs audio');
  const { head, tail } = form(asked, audio.contentType);
  let lost = false;
  const upload = Readable.from(
    (async function* parts() {
      yield head;
      try {
        yield* await audio.open();
      } catch (error) {
        lost = true;
        throw error;
      }
      yield tail;
    })(),
    { objectMode: false },
  );
  const { headers, ...request } = requestFor(link, asked, '/v1/audio/transcriptions');
  const ended = await exchange(link.agent, {
    ...request,
    headers: [
      ...headers.slice(2),
      'content-type',
      `multipart/form-data; boundary=${BOUNDARY}`,
      'content-length',
      String(head.length + audio.bytes + tail.length),
    ],
    body: upload,
    maxBytes: MOST_BYTES,
  });
  if (lost)
    return failed(ended, {
      code: 'storage_unavailable',
      retryable: true,
      message: 'The audio could not be read.',
    });
  return resultOf(link, { ...asked, ended }, transcriptionReader(asked));
}

/** What stands before and after the audio in the form. */
function form({ route, call }: Asked, contentType: string): { head: Buffer; tail: Buffer } {
  const input = JSON.parse(call.input) as Record<string, unknown>;
  const fields: [string, unknown][] = [
    ['model', route.upstreamModel],
    ['response_format', 'verbose_json'],
    ['language', input.language],
    ['prompt', input.prompt],
    ['max_ms', call.bounds.audio_ms],
    ['sim', input.sim],
  ];
  const parts = fields
    .filter(([, value]) => value !== undefined && value !== null)
    .map(
      ([name, value]) =>
        `--${BOUNDARY}\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${typeof value === 'string' ? value : JSON.stringify(value)}\r\n`,
    );
  const type = /^[\w.+-]+\/[\w.+-]+$/.test(contentType) ? contentType : 'application/octet-stream';
  const file = `--${BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="audio"\r\ncontent-type: ${type}\r\n\r\n`;
  return { head: Buffer.from(parts.join('') + file), tail: Buffer.from(`\r\n--${BOUNDARY}--\r\n`) };
}

export const transcriptionReader =
  (asked: Asked): Reader =>
  (ended) => {
    const body = parsed(ended.body);
    const { text, language, duration, segments, usage } = Object(body) as Record<string, unknown>;
    const heard = Array.isArray(segments) ? segments.map(segmentOf) : [];
    const whole = heard.filter((segment) => segment !== null);
    const durationMs = milliseconds(duration);
    if (typeof text !== 'string' || durationMs === null || whole.length < heard.length) {
      return malformed(ended, { body, what: 'no transcript', secrets: secretsOf(asked) });
    }
    const billed = milliseconds((Object(usage) as { seconds?: unknown }).seconds) ?? durationMs;
    return {
      type: 'succeeded',
      output: {
        kind: 'stt',
        text,
        language: typeof language === 'string' ? language : null,
        durationMs,
        segments: whole,
      },
      usage: [{ name: 'millisecond', measure: 'input', quantity: billed }],
      evidence: evidenceOf(ended),
    };
  };

function segmentOf(segment: unknown): { start_ms: number; end_ms: number; text: string } | null {
  const { start, end, text } = Object(segment) as Record<string, unknown>;
  const [startMs, endMs] = [milliseconds(start), milliseconds(end)];
  return startMs !== null && endMs !== null && typeof text === 'string'
    ? { start_ms: startMs, end_ms: endMs, text }
    : null;
}

/** From seconds with a fraction. Null: no number that makes sense. */
function milliseconds(seconds: unknown): number | null {
  const ms = typeof seconds === 'number' ? Math.round(seconds * 1000) : NaN;
  return isCount(ms) ? ms : null;
}
