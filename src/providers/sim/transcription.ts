import { evidenceOf, exchange } from '../exchange.ts';
import { failed, malformed, NOT_READ, parsed } from '../failure.ts';
import { formOf } from '../form.ts';
import { isCount } from '../openai/usage.ts';
import type { CallResult } from '../provider.ts';
import { type Asked, type Link, type Reader, requestFor, secretsOf } from './link.ts';
import { resultOf } from './remote.ts';

const MOST_BYTES = 8 << 20;

export async function simTranscription(link: Link, asked: Asked): Promise<CallResult> {
  const { route, call } = asked;
  if (!call.artifact) throw new Error('a transcription needs audio');
  const input = JSON.parse(call.input) as Record<string, unknown>;
  const form = formOf(
    [
      ['model', route.upstreamModel],
      ['response_format', 'verbose_json'],
      ['language', input.language],
      ['prompt', input.prompt],
      ['max_ms', call.bounds.audio_ms],
      ['sim', input.sim],
    ],
    { name: 'file', artifact: call.artifact },
  );
  const ended = await exchange(link.agent, {
    ...requestFor(link, asked, '/v1/audio/transcriptions', form.headers),
    body: form.body,
    maxBytes: MOST_BYTES,
  });
  if (form.lost()) return failed(ended, NOT_READ);
  return resultOf(link, { ...asked, ended }, transcriptionReader(asked));
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
