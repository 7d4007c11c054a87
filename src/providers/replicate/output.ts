// What a prediction that succeeded brought, by kind. Each model has its own form of output; these are the usual ones.
import { randomUUID } from 'node:crypto';
import type { UsageLine } from '../../domain/job.ts';
import { recognise } from '../../domain/measure-sound.ts';
import { gifOf, pictureOf } from '../../domain/picture.ts';
import { wavFormat } from '../../domain/wav.ts';
import { type Ended, evidenceOf } from '../exchange.ts';
import { malformed } from '../failure.ts';
import type { CallResult, ImageOutput, Output } from '../provider.ts';
import { isCount } from '../openai/usage.ts';
import { fetchFile, type FileBytes } from './files.ts';
import { type Asked, type Link, secretsOf } from './link.ts';
import type { Prediction } from './prediction.ts';

const MOST_IMAGE_BYTES = 64 << 20;
const MOST_AUDIO_BYTES = 100 << 20;

interface Done {
  prediction: Prediction;
  ended: Ended;
}

type Made = { output: Output; usage: UsageLine[] | null };

export async function resultOf(link: Link, asked: Asked, done: Done): Promise<CallResult> {
  const made = await READERS[asked.call.kind](link, asked, done);
  const worked = computeTime(asked, done.prediction);
  // The work was done, and is billed, though nobody gets to see it.
  if ('type' in made) return made.type === 'failed' ? { ...made, billed: billed(worked) } : made;
  const usage = made.usage && [...made.usage, ...worked];
  return { type: 'succeeded', output: made.output, usage, evidence: evidenceOf(done.ended) };
}

/** As usage only where the route's cost is by it: else nobody would know what to make of it. */
export function computeTime({ route }: Pick<Asked, 'route'>, { predictMs }: Prediction): UsageLine[] {
  return route.timed && predictMs !== null
    ? [{ name: 'millisecond', measure: 'output', quantity: predictMs }]
    : [];
}

/** Of work that failed: null where nobody told what it cost. */
export const billed = (worked: UsageLine[]): UsageLine[] | null => (worked.length > 0 ? worked : null);

const READERS = { chat: readChat, image: readImages, tts: readSpeech, stt: readTranscript } as const;

const nothing = (asked: Asked, { ended }: Done, what: string): CallResult =>
  malformed(ended, { body: undefined, what, secrets: secretsOf(asked), over: true });

/** One URL or a list; in an object under the name that most use for it. */
function listed(output: unknown): unknown[] {
  if (Array.isArray(output)) return output as unknown[];
  if (typeof output !== 'object' || output === null) return output == null ? [] : [output];
  const { images, image, audio, audio_out: audioOut, url } = output as Record<string, unknown>;
  return listed(images ?? image ?? audio ?? audioOut ?? url);
}

async function readImages(link: Link, asked: Asked, done: Done): Promise<Made | CallResult> {
  const uris = listed(done.prediction.output);
  const wanted = asked.call.bounds.n ?? uris.length;
  const images: ImageOutput[] = [];
  // One after the other: ten large ones at once would be held in memory by each call.
  for (const uri of uris.slice(0, wanted)) {
    const file = await fetchFile(link, asked, { uri, maxBytes: MOST_IMAGE_BYTES, after: done.ended });
    if ('type' in file) return file;
    const picture = pictureOf(file.bytes) ?? gifOf(file.bytes);
    if (!picture) return nothing(asked, done, 'an image that is none');
    images.push({ bytes: file.bytes, ...picture, seed: null, revisedPrompt: null });
  }
  if (images.length === 0) return nothing(asked, done, 'no images');
  return {
    output: { kind: 'image', images },
    usage: [{ name: 'image', measure: 'output', quantity: images.length }],
  };
}

async function readSpeech(link: Link, asked: Asked, done: Done): Promise<Made | CallResult> {
  const [uri] = listed(done.prediction.output);
  const file: FileBytes | CallResult = await fetchFile(link, asked, {
    uri,
    maxBytes: MOST_AUDIO_BYTES,
    after: done.ended,
  });
  if ('type' in file) return file;
  const { contentType, ...sound } = await recognise(file.bytes);
  const cutOff = contentType === 'audio/wav' && wavFormat(file.bytes)?.cutOff !== false;
  if (contentType === null || cutOff) return nothing(asked, done, 'no whole sound');
  const characters = asked.call.bounds.characters ?? 0;
  return {
    output: { kind: 'tts', bytes: file.bytes, contentType, ...sound },
    usage: [{ name: 'character', measure: 'input', quantity: characters }],
  };
}

/** A text, a list of pieces of it, or an object with one and perhaps its segments. */
async function readTranscript(_: Link, asked: Asked, done: Done): Promise<Made | CallResult> {
  const { output } = done.prediction;
  const heard = Object(output) as Record<string, unknown>;
  const text = textOf(output) ?? textOf(heard.text) ?? textOf(heard.transcription);
  const spoken = heard.segments ?? heard.chunks;
  const segments = (Array.isArray(spoken) ? (spoken as unknown[]) : []).map(segmentOf);
  if (text === null || segments.includes(null)) return nothing(asked, done, 'no transcript');
  const language = heard.detected_language ?? heard.language;
  const whole = segments.filter((segment) => segment !== null);
  const end = whole.reduce((latest, { end_ms: ms }) => Math.max(latest, ms), 0);
  // The bound is what was held for, which of audio of unknown length is the most a plan allows.
  const durationMs = end > 0 ? end : (asked.call.bounds.audio_ms ?? 0);
  return {
    output: {
      kind: 'stt',
      text: text.trim(),
      language: typeof language === 'string' ? language.slice(0, 40) : null,
      durationMs,
      segments: whole,
    },
    usage: [{ name: 'millisecond', measure: 'input', quantity: durationMs }],
  };
}

function segmentOf(segment: unknown): { start_ms: number; end_ms: number; text: string } | null {
  const { start, end, text, timestamp } = Object(segment) as Record<string, unknown>;
  const [from, to] = Array.isArray(timestamp) ? (timestamp as unknown[]) : [start, end];
  const [startMs, endMs] = [wholeMs(from), wholeMs(to)];
  if (startMs === null || typeof text !== 'string') return null;
  // The last chunk of some models has no end.
  return { start_ms: startMs, end_ms: Math.max(startMs, endMs ?? 0), text };
}

/** From seconds. Null: no number, or one that no price could be made of. */
function wholeMs(seconds: unknown): number | null {
  const ms = typeof seconds === 'number' ? Math.round(seconds * 1000) : NaN;
  return isCount(ms) ? ms : null;
}

async function readChat(_: Link, asked: Asked, done: Done): Promise<Made | CallResult> {
  const text = textOf(done.prediction.output);
  if (text === null) return nothing(asked, done, 'no text');
  const { call, route } = asked;
  const message = { role: 'assistant', content: text };
  call.onDelta(JSON.stringify(message));
  const completion = {
    id: `chatcmpl-${randomUUID()}`,
    object: 'chat.completion',
    created: Math.floor(Date.now() / 1000),
    model: route.upstreamModel,
    choices: [{ index: 0, message, finish_reason: 'stop' }],
  };
  const { tokens } = done.prediction;
  // Where the vendor does not tell, the worker counts.
  const usage: UsageLine[] | null = tokens && [
    { name: 'token', measure: 'input', quantity: tokens.input },
    { name: 'token', measure: 'output', quantity: tokens.output },
  ];
  return { output: { kind: 'chat', text, completion: JSON.stringify(completion) }, usage };
}

/** Language models bring their text in pieces. Null: no text. */
function textOf(output: unknown): string | null {
  if (typeof output === 'string') return output;
  if (!Array.isArray(output) || !output.every((piece) => typeof piece === 'string')) return null;
  return (output as string[]).join('');
}
