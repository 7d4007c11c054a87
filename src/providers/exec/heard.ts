// What engines write when they have heard something, each in its own way.

export interface Transcript {
  text: string;
  language: string | null;
  segments: { start_ms: number; end_ms: number; text: string }[];
}

/** `word start end confidence`, times in seconds; `<s>`, `</s>`, `<sil>` and `[NOISE]` are no words. */
const TIMED = /^(\S+) (\d+\.\d+) (\d+\.\d+) (\d+\.\d+)$/;
const NO_WORD = /^[<[]/;

/**
 * A line for each stretch of speech, followed by one for each of its words. Nothing at all: nothing was said.
 * @returns null where words come without a line that they belong to: another program, or another version
 */
export function heardByPocketsphinx(stdout: string): Transcript | null {
  const segments: Transcript['segments'] = [];
  // Until the first word, a stretch's times are not known.
  let open: Transcript['segments'][number] | null = null;
  for (const line of stdout.split('\n').map((one) => one.trim())) {
    if (line === '') continue;
    const [, word = '', start, end] = TIMED.exec(line) ?? [];
    if (start === undefined || end === undefined) {
      open = { start_ms: 0, end_ms: 0, text: line };
      segments.push(open);
      continue;
    }
    if (!open) return null;
    if (NO_WORD.test(word)) continue;
    if (open.end_ms === 0) open.start_ms = milliseconds(start);
    open.end_ms = milliseconds(end);
  }
  return { text: segments.map(({ text }) => text).join(' '), language: 'en', segments };
}

/** whisper.cpp's JSON, whose offsets are ms. */
export function heardByWhisper(json: string): Transcript | null {
  const { transcription, result } = Object(parsed(json)) as Record<string, unknown>;
  if (!Array.isArray(transcription)) return null;
  const segments = (transcription as unknown[]).map((item) => {
    const { offsets, text } = Object(item) as Record<string, unknown>;
    const { from, to } = Object(offsets) as Record<string, unknown>;
    return typeof text === 'string' && isMs(from) && isMs(to)
      ? { start_ms: from, end_ms: to, text: text.trim() }
      : null;
  });
  const whole = segments.filter((segment) => segment !== null);
  if (whole.length < segments.length) return null;
  const { language } = Object(result) as Record<string, unknown>;
  return {
    text: whole.map(({ text }) => text).join(' '),
    language: typeof language === 'string' ? language : null,
    segments: whole,
  };
}

const isMs = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

const milliseconds = (seconds: string): number => Math.round(Number(seconds) * 1000);

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}
