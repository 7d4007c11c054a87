// POST /v1/audio/transcriptions. The form may hold `max_ms`: only so much of the audio is heard, and counted.
import { type Heard, samplesOf } from '../sound/listen-input.ts';
import { listen, type Utterance } from '../sound/listen.ts';
import { SAMPLE_RATE } from '../../../domain/wav.ts';
import { type Answer, invalid, SimError, type Work } from './answer.ts';
import type { Form } from './multipart.ts';

const FORMATS = ['json', 'text', 'verbose_json'];

interface Transcript {
  text: string;
  language: string;
  durationMs: number;
  segments: { startMs: number; endMs: number; text: string }[];
}

/** @throws SimError 400. So does its answer, if there is nothing to be heard. */
export function transcriptionWork({ fields, files }: Form): Work {
  const file = files.get('file');
  if (!file) throw invalid('The form has no file.');
  const format = fields.get('response_format') ?? 'json';
  if (!FORMATS.includes(format)) throw invalid(`response_format must be one of ${FORMATS.join(', ')}.`);
  const mostMs = Number(fields.get('max_ms') ?? Infinity);
  if (!(mostMs > 0)) throw invalid('max_ms must be a number above 0.');
  const transcribe = once({ file, mostMs, language: fields.get('language') || 'en' });
  return {
    kind: 'stt',
    weight: 20_000,
    answer: (usageTimes) => written(transcribe(), format, usageTimes),
    events: null,
  };
}

interface Recording {
  file: Buffer;
  mostMs: number;
  language: string;
}

/** Listens when first asked, and lets go of the recording then: what is kept of a call must be small. */
function once(recording: Recording): () => Transcript {
  let unheard: Recording | null = recording;
  let transcript: Transcript;
  return () => {
    if (unheard) transcript = transcriptOf(unheard);
    unheard = null;
    return transcript;
  };
}

function transcriptOf({ file, mostMs, language }: Recording): Transcript {
  const { utterances, durationMs } = hear(file, mostMs);
  const text = utterances.map((utterance) => utterance.text).join(' ');
  return { text, language, durationMs, segments: utterances.flatMap(sentences) };
}

function hear(file: Buffer, mostMs: number): { utterances: Utterance[]; durationMs: number } {
  for (const shift of [0, 1] as const) {
    const heard = samplesOf(file, shift);
    if (!heard)
      throw new SimError(
        400,
        'unsupported_audio',
        'The audio must be a PCM WAV file, or raw 16-bit mono PCM at 16 kHz.',
      );
    const { samples, durationMs } = shortened(heard, mostMs);
    const utterances = listen(samples);
    if (utterances.length > 0) return { utterances, durationMs };
  }
  throw new SimError(400, 'no_speech', 'No speech could be heard in the audio.');
}

function shortened({ samples, durationMs }: Heard, mostMs: number): Heard {
  if (durationMs <= mostMs) return { samples, durationMs };
  return {
    samples: samples.subarray(0, Math.floor((mostMs * SAMPLE_RATE) / 1000)),
    durationMs: Math.floor(mostMs),
  };
}

/** An utterance cut after each sentence. The sound runs evenly through the text, so times follow from lengths. */
function sentences({ text, startMs, endMs }: Utterance): Transcript['segments'] {
  const parts = text.match(/[^.!?。\n]+(?:[.!?。\n]+\s*|$)|[.!?。\n]+\s*/gu) ?? [text];
  let at = 0;
  const timeAt = (index: number): number => Math.round(startMs + ((endMs - startMs) * index) / text.length);
  return parts.map((part) => ({
    startMs: timeAt(at),
    endMs: timeAt((at += part.length)),
    text: part.trim(),
  }));
}

function written(
  { text, language, durationMs, segments }: Transcript,
  format: string,
  usageTimes: number,
): Answer {
  if (format === 'text') return { contentType: 'text/plain; charset=utf-8', body: text };
  const usage = { type: 'duration', seconds: (durationMs * usageTimes) / 1000 };
  if (format === 'json') return { contentType: 'application/json', body: JSON.stringify({ text, usage }) };
  const body = JSON.stringify({
    task: 'transcribe',
    language,
    duration: durationMs / 1000,
    text,
    segments: segments.map((segment, id) => ({
      id,
      start: segment.startMs / 1000,
      end: segment.endMs / 1000,
      text: segment.text,
    })),
    usage,
  });
  return { contentType: 'application/json', body };
}
