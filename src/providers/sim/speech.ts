import { rewriteObject } from '../../domain/json-members.ts';
import { evidenceOf, exchange } from '../exchange.ts';
import { malformed, parsed } from '../failure.ts';
import { isCount } from '../openai/usage.ts';
import type { CallResult } from '../provider.ts';
import { type Asked, type Link, type Reader, requestFor, secretsOf } from './link.ts';
import { resultOf } from './remote.ts';
import { wavInfo } from '../../domain/wav.ts';

const MOST_BYTES = 100 << 20;

export async function simSpeech(link: Link, asked: Asked): Promise<CallResult> {
  const body = rewriteObject(asked.call.input, { model: JSON.stringify(asked.route.upstreamModel) });
  const ended = await exchange(link.agent, {
    ...requestFor(link, asked, '/v1/audio/speech'),
    body,
    maxBytes: MOST_BYTES,
  });
  return resultOf(link, { ...asked, ended }, speechReader(asked));
}

export const speechReader =
  (asked: Asked): Reader =>
  (ended) => {
    const contentType = String(ended.head?.headers['content-type']);
    const sound = soundOf(ended.body, contentType);
    if (!sound)
      return malformed(ended, { body: parsed(ended.body), what: 'no sound', secrets: secretsOf(asked) });
    const billed = Number(ended.head?.headers['x-usage-characters']);
    const usage = isCount(billed)
      ? [{ name: 'character', measure: 'input', quantity: billed } as const]
      : null;
    return {
      type: 'succeeded',
      output: { kind: 'tts', bytes: ended.body, contentType, ...sound },
      usage,
      evidence: evidenceOf(ended),
    };
  };

/** Null: neither a WAV file nor PCM that says its rate, or one without a sample. */
function soundOf(bytes: Buffer, contentType: string): { durationMs: number; sampleRate: number } | null {
  const rate = /^audio\/pcm;\s*rate=(\d{4,6})$/.exec(contentType)?.[1];
  const wav = rate === undefined ? wavInfo(bytes) : null;
  const sampleRate = wav?.sampleRate ?? Number(rate ?? 0);
  const frameBytes = wav ? (wav.channels * wav.bitsPerSample) / 8 : 2;
  const frames = Math.floor((wav ? wav.end - wav.start : bytes.length) / frameBytes);
  return sampleRate > 0 && frames > 0
    ? { durationMs: Math.floor((frames * 1000) / sampleRate), sampleRate }
    : null;
}
