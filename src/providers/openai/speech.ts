// Speech by any server that speaks OpenAI's dialect: sound in one piece, or in events that say at last what it cost.
import { measureSound, type Sound } from '../../domain/measure-sound.ts';
import { markedSound, soundType } from '../../domain/sound.ts';
import { takesField } from '../../domain/usual-fields.ts';
import { wavFormat } from '../../domain/wav.ts';
import { type Ended, evidenceOf, type Head } from '../exchange.ts';
import { failed, malformed, parsed, TOO_LARGE } from '../failure.ts';
import type { CallResult } from '../provider.ts';
import { type Asked, bodyFor, type Link, post, resultOf, secretsOf } from './link.ts';
import { SpeechStream } from './speech-stream.ts';
import { tokenUsage } from './usage.ts';

export const MOST_SOUND_BYTES = 100 << 20;
/** In base64, with what is around it. */
const MOST_BYTES = 160 << 20;
const USUAL_VOICE = 'alloy';
const USUAL_PCM_RATE = 24_000;

export async function speech(link: Link, asked: Asked): Promise<CallResult> {
  const { upstreamModel, data } = asked.route;
  const input = JSON.parse(asked.call.input) as { voice?: string };
  const streamed = data.fields?.includes('stream_format') ?? false;
  const set: Record<string, string> = { model: JSON.stringify(upstreamModel) };
  if (input.voice === undefined && takesField('tts', data, 'voice'))
    set.voice = JSON.stringify(data.voice ?? USUAL_VOICE);
  if (streamed) set.stream_format = '"sse"';
  const stream = new SpeechStream(MOST_SOUND_BYTES);
  const ended = await post(link, asked, {
    path: '/audio/speech',
    body: bodyFor(asked, set),
    maxBytes: MOST_BYTES,
    idleMs: streamed ? link.limits.idleMs : 0,
    sink: (head) => (typeOf(head) === 'text/event-stream' ? stream : null),
  });
  return resultOf(ended, asked, (whole) =>
    whole.head && typeOf(whole.head) === 'text/event-stream'
      ? streamResult(whole, asked, stream)
      : soundResult(whole, asked, { bytes: whole.body, usage: null }),
  );
}

const typeOf = ({ headers }: Head): string =>
  String(headers['content-type']).split(';', 1)[0]!.trim().toLowerCase();

function streamResult(ended: Ended, asked: Asked, stream: SpeechStream): CallResult | Promise<CallResult> {
  const usage = tokenUsage(stream.usage);
  if (stream.fault?.what === 'too_large') return failed(ended, { ...TOO_LARGE, billed: usage });
  if (stream.fault || !stream.done) {
    const what = stream.fault?.what ?? 'the stream ended early';
    return malformed(ended, { body: stream.fault?.event, what, secrets: secretsOf(asked) });
  }
  return soundResult(ended, asked, { bytes: stream.sound(), usage });
}

async function soundResult(
  ended: Ended,
  asked: Asked,
  { bytes, usage }: { bytes: Buffer; usage: ReturnType<typeof tokenUsage> },
): Promise<CallResult> {
  if (bytes.length > MOST_SOUND_BYTES) return failed(ended, { ...TOO_LARGE, billed: usage });
  const sound = await soundOf(bytes, { ...asked, head: ended.head });
  if (typeof sound === 'string') {
    const result = malformed(ended, { body: parsed(bytes), what: sound, secrets: secretsOf(asked) });
    return result.type === 'failed' ? { ...result, billed: usage } : result;
  }
  const output = { kind: 'tts', bytes, ...sound } as const;
  return { type: 'succeeded', output, usage, evidence: evidenceOf(ended) };
}

/** What the bytes are, whatever was asked for or announced; a text: why they are no sound. */
async function soundOf(
  bytes: Buffer,
  { route, call, head }: Asked & { head: Head | null },
): Promise<(Sound & { contentType: string }) | string> {
  if (bytes.length === 0) return 'no sound';
  const { response_format: wanted } = JSON.parse(call.input) as { response_format?: string };
  const contentType = wanted === 'pcm' ? markedSound(bytes) : soundType(bytes);
  if (contentType === null)
    return wanted === 'pcm' && !isText(bytes, head)
      ? bareSound(bytes, route.data.pcm_rate)
      : 'no sound that we know';
  if (contentType === 'audio/wav' && wavFormat(bytes)?.cutOff !== false)
    return 'a WAV that is cut off or broken';
  return { contentType, ...(await measureSound(bytes, contentType)) };
}

/** Samples of 16 bits, one channel: nothing in them says so. */
function bareSound(bytes: Buffer, rate = USUAL_PCM_RATE): Sound & { contentType: string } {
  const durationMs = Math.ceil((bytes.length / 2 / rate) * 1000);
  return { contentType: `audio/pcm;rate=${rate}`, durationMs, sampleRate: rate };
}

/** An error page or object, which bare samples could not be told from otherwise. */
function isText(bytes: Buffer, head: Head | null): boolean {
  if (head && /^text\/html|json|xml/.test(typeOf(head))) return true;
  return /^\s*<(!doctype|html|\?xml)/i.test(bytes.toString('latin1', 0, 64)) || isJsonObject(bytes);
}

const isJsonObject = (bytes: Buffer): boolean => {
  const value = bytes[0] === 0x7b ? parsed(bytes) : undefined;
  return typeof value === 'object';
};
