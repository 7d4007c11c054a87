import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TtsInput } from '../../domain/submission.ts';
import type { CallResult } from '../provider.ts';
import { wavInfo } from '../../domain/wav.ts';
import { evidenceOf, malformed, rejected } from './failure.ts';
import { isResult, runOnce, type Work } from './work.ts';

const OUT = 'speech.wav';

export async function speak(work: Work): Promise<CallResult> {
  const { found, call, folder } = work;
  const input = JSON.parse(call.input) as TtsInput;
  const refused = refusal(work, input);
  if (refused !== null) return rejected(refused);
  const voice = input.voice ?? work.variant ?? [...found.variants.keys()][0];
  const text = join(folder, 'text');
  const byLine = found.engine.stdin === 'line';
  if (!byLine) await writeFile(text, input.input);
  const ended = await runOnce(work, {
    values: {
      text,
      voice,
      model: voice === undefined ? undefined : found.variants.get(voice)?.model,
      pace: input.speed === undefined ? undefined : found.engine.pace?.(input.speed),
    },
    // To it each line is a text of its own.
    stdin: byLine ? `${input.input.replace(/\s+/g, ' ')}\n` : null,
    out: OUT,
  });
  if (isResult(ended)) return ended;
  const bytes = await readFile(join(folder, OUT)).catch(() => Buffer.alloc(0));
  const sound = soundOf(bytes);
  if (!sound) return malformed(ended, 'no sound');
  return {
    type: 'succeeded',
    output: { kind: 'tts', bytes, contentType: 'audio/wav', ...sound },
    usage: null,
    evidence: evidenceOf(ended),
  };
}

/** Why the engine cannot do as the client says; what it cannot do is not passed over in silence. */
function refusal(
  { found: { name, engine, variants } }: Work,
  { voice, response_format: format, speed, instructions }: TtsInput,
): string | null {
  if (voice !== undefined && !variants.has(voice))
    return `${name} has no such voice. input.voice may be ${[...variants.keys()].join(', ')}.`;
  if (format !== undefined && format !== 'wav')
    return `${name} writes WAV only. Leave out input.response_format, or set it to wav.`;
  if (speed !== undefined && !engine.pace) return `${name} has one speed. Leave out input.speed.`;
  if (instructions !== undefined) return `${name} takes no instructions. Leave out input.instructions.`;
  return null;
}

/** By its own bytes. Null: no WAV file, or one without a sample. */
function soundOf(bytes: Buffer): { durationMs: number; sampleRate: number } | null {
  const wav = wavInfo(bytes);
  if (!wav || wav.sampleRate === 0) return null;
  const frames = Math.floor((wav.end - wav.start) / ((wav.channels * wav.bitsPerSample) / 8));
  return frames > 0
    ? { durationMs: Math.floor((frames * 1000) / wav.sampleRate), sampleRate: wav.sampleRate }
    : null;
}
