// A transcript out of any of the five forms that servers answer in.
import type { UsageLine } from '../../domain/job.ts';
import type { TranscriptFormat } from '../../domain/model.ts';
import { codeOf } from './languages.ts';
import { cuesOf, type Segment } from './subtitles.ts';
import { isCount, tokenUsage } from './usage.ts';

export interface Transcript {
  text: string;
  /** A code such as `en` where it can be told. */
  language: string | null;
  durationMs: number | null;
  segments: Segment[];
  usage: UsageLine[] | null;
}

/** By what came, which need not be what was asked for; null: nothing that makes sense. */
export function transcriptOf(
  text: string,
  { format, contentType }: { format: TranscriptFormat; contentType: string },
): Transcript | null {
  if (contentType.startsWith('text/html')) return null;
  const value = jsonOf(text);
  if (
    value !== undefined &&
    (typeof value === 'object' || format.endsWith('json') || /json/.test(contentType))
  )
    return fromJson(value);
  if (
    format === 'json' ||
    format === 'verbose_json' ||
    text === '' ||
    /^\s*<(!doctype|html|\?xml)/i.test(text)
  )
    return null;
  if (format === 'text') return { ...nothing, text: text.trim() };
  const cues = cuesOf(text, format);
  return cues && { ...nothing, text: cues.map((cue) => cue.text).join(' '), segments: cues };
}

const nothing = { language: null, durationMs: null, segments: [], usage: null };

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** `json` and `verbose_json`: what is absent is not known. Some servers answer a bare string. */
function fromJson(value: unknown): Transcript | null {
  if (typeof value === 'string') return { ...nothing, text: value };
  const { text, language, languages, duration, segments, usage } = Object(value) as Record<string, unknown>;
  if (typeof text !== 'string') return null;
  const parts = Array.isArray(segments) ? segments.map(segmentOf) : [];
  const whole = parts.filter((part) => part !== null);
  if (whole.length < parts.length) return null;
  return {
    text,
    language: languageOf(language, languages),
    durationMs: milliseconds(duration),
    segments: whole,
    usage: usageOf(usage),
  };
}

function languageOf(language: unknown, languages: unknown): string | null {
  if (typeof language === 'string' && language !== '') return codeOf(language);
  const only: unknown = Array.isArray(languages) && languages.length === 1 ? languages[0] : null;
  const { code } = Object(only) as { code?: unknown };
  return typeof code === 'string' ? code : null;
}

function segmentOf(segment: unknown): Segment | null {
  const { start, end, text } = Object(segment) as Record<string, unknown>;
  const [startMs, endMs] = [milliseconds(start), milliseconds(end)];
  if (startMs === null || endMs === null || typeof text !== 'string') return null;
  return { start_ms: startMs, end_ms: endMs, text: text.trim() };
}

/** Billed by tokens, or by the length of the audio. */
function usageOf(usage: unknown): UsageLine[] | null {
  const { seconds } = Object(usage) as { seconds?: unknown };
  const ms = milliseconds(seconds);
  return (
    tokenUsage(usage) ?? (ms === null ? null : [{ name: 'millisecond', measure: 'input', quantity: ms }])
  );
}

/** From seconds with a fraction, which some servers write as a text. Null: no number that makes sense. */
function milliseconds(seconds: unknown): number | null {
  const number = typeof seconds === 'string' && /^\d+(\.\d+)?$/.test(seconds) ? Number(seconds) : seconds;
  const ms = typeof number === 'number' ? Math.round(number * 1000) : NaN;
  return isCount(ms) ? ms : null;
}
