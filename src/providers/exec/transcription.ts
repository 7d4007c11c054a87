import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import type { EngineName } from '../../domain/engines.ts';
import type { SttInput } from '../../domain/submission.ts';
import type { Call, CallResult } from '../provider.ts';
import { evidenceOf, failed, malformed, rejected, stopped } from './failure.ts';
import { heardByPocketsphinx, heardByWhisper, type Transcript } from './heard.ts';
import { engineSound } from './sound.ts';
import { isResult, runOnce, type Work } from './work.ts';

const OUT = 'heard.json';

export async function transcribe(work: Work): Promise<CallResult> {
  const { found, call, folder } = work;
  const { name, engine } = found;
  const language = languageFor(engine.language ?? null, (JSON.parse(call.input) as SttInput).language);
  if (language === null)
    return rejected(
      `${name} hears ${engine.language ?? 'languages named by two or three letters'}. Change input.language, or leave it out.`,
    );
  const file = join(folder, 'sound.wav');
  const giveBack = await work.preparing.take(1, call.signal);
  if (!giveBack) return stopped(null);
  const durationMs = await prepare(call, file).finally(giveBack);
  if (durationMs === 'lost')
    return failed(null, {
      code: 'storage_unavailable',
      retryable: call.artifact !== null,
      message: 'The audio could not be read.',
    });
  if (durationMs === null)
    return rejected(`${name} hears WAV files of 8, 16, 24 or 32 bits a sample. Send such a file.`);
  const model = work.variant ?? [...found.variants.keys()][0] ?? '';
  const ended = await runOnce(work, {
    values: { sound: file, language, model: found.variants.get(model)?.model },
    out: OUT,
  });
  if (isResult(ended)) return ended;
  const written = await readFile(join(folder, OUT), 'utf8').catch(() => '');
  const heard = READERS[name]?.({ stdout: ended.stdout.toString('utf8'), written });
  if (!heard) return malformed(ended, 'no transcript');
  return {
    type: 'succeeded',
    output: { kind: 'stt', durationMs, ...heard },
    usage: null,
    evidence: evidenceOf(ended),
  };
}

/** Writes what is to be heard into the file, so that no sound lies in memory while a call waits for its turn. Its length in ms. */
async function prepare({ artifact, bounds }: Call, file: string): Promise<number | null | 'lost'> {
  const bytes =
    artifact &&
    (await artifact
      .open()
      .then(buffer)
      .catch(() => null));
  if (!bytes) return 'lost';
  const sound = await engineSound(bytes, bounds.audio_ms ?? Infinity);
  if (sound) await writeFile(file, sound.file);
  return sound && sound.durationMs;
}

const READERS: Partial<Record<EngineName, (from: { stdout: string; written: string }) => Transcript | null>> =
  {
    pocketsphinx: ({ stdout }) => heardByPocketsphinx(stdout),
    'whisper-cli': ({ written }) => heardByWhisper(written),
  };

/** The word for the engine; null: it cannot hear what the client asks for. */
function languageFor(only: string | null, asked: string | undefined): string | null {
  const [, word = null] = /^([a-z]{2,3})(?:[-_][a-z0-9]{2,8})*$/i.exec(asked ?? only ?? 'auto') ?? [];
  if (asked === undefined) return only ?? 'auto';
  const language = word?.toLowerCase() ?? null;
  return only === null || language === only ? language : null;
}
