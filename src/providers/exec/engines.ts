// The engines on the command line, and how each is called. This is code and not data: what an operator or a client can
// write never becomes a word of a command, only the value of a placeholder (docs/decisions/0017).
import type { EngineName } from '../../domain/engines.ts';

/** One word, or words that are left out together where one of their placeholders has no value. */
export type Words = string | readonly string[];

/**
 * Placeholders: `{text}` a file with the text, `{sound}` a WAV file (16 kHz, mono), `{out}` the file to write,
 * `{stem}` the same without its extension, `{voice}`, `{model}` a path, `{pace}`, `{threads}`, `{language}`, `{prompt}`,
 * `{width}`, `{height}`, `{seed}`.
 */
export interface Engine {
  /** What its program is called on PATH. */
  program: string;
  args: readonly Words[];
  /** Where the text goes, instead of into a file. */
  stdin?: 'line';
  /** Its voices, the default first; or the model files it needs, any of which will do. */
  variants: { voices: readonly string[] } | { files: RegExp; beside?: string } | null;
  /** The value of `{pace}` for a speed, 1 being the engine's own. Absent: it has one speed. */
  pace?(speed: number): string;
  /** stt: the one language it hears; null: it finds out, or is told. */
  language?: string | null;
  /** How many CPUs one call keeps busy, where it can. */
  threads: number;
  /** Resident memory of the call's processes together. */
  memoryMb: number;
}

const GIB = 1024;
const MODEL_NAME = '[A-Za-z0-9][A-Za-z0-9._-]{0,99}';

export const ENGINES: Record<EngineName, Engine> = {
  flite: {
    program: 'flite',
    args: ['-voice', '{voice}', ['--setf', 'duration_stretch={pace}'], '-f', '{text}', '-o', '{out}'],
    variants: { voices: ['slt', 'rms', 'awb', 'kal'] },
    pace: (speed) => (1 / speed).toFixed(3),
    threads: 1,
    memoryMb: GIB / 2,
  },
  'espeak-ng': {
    program: 'espeak-ng',
    args: ['-v', '{voice}', ['-s', '{pace}'], '-b', '1', '-f', '{text}', '-w', '{out}'],
    variants: {
      voices: ['en-us', 'en-gb', 'de', 'fr', 'es', 'it', 'nl', 'pl', 'pt', 'pt-br', 'ru', 'sv', 'tr', 'cmn'],
    },
    // In words a minute, of which it takes no fewer than 80.
    pace: (speed) => String(Math.max(80, Math.round(175 * speed))),
    threads: 1,
    memoryMb: GIB / 4,
  },
  piper: {
    program: 'piper',
    args: ['--model', '{model}', ['--length_scale', '{pace}'], '--output_file', '{out}'],
    stdin: 'line',
    // It reads the voice's configuration from beside the voice.
    variants: { files: new RegExp(`^(${MODEL_NAME})\\.onnx$`), beside: '.json' },
    pace: (speed) => (1 / speed).toFixed(3),
    threads: 2,
    memoryMb: 2 * GIB,
  },
  pocketsphinx: {
    program: 'pocketsphinx_continuous',
    args: ['-infile', '{sound}', '-time', 'yes', '-logfn', '/dev/null'],
    variants: null,
    language: 'en',
    threads: 1,
    memoryMb: GIB,
  },
  'whisper-cli': {
    program: 'whisper-cli',
    args: [
      '--model',
      '{model}',
      '--file',
      '{sound}',
      '--language',
      '{language}',
      '--threads',
      '{threads}',
      '--no-prints',
      '--output-json',
      '--output-file',
      '{stem}',
    ],
    variants: { files: new RegExp(`^(${MODEL_NAME})\\.bin$`) },
    language: null,
    threads: 4,
    memoryMb: 6 * GIB,
  },
  sd: {
    program: 'sd',
    // It takes a prompt on its command line alone. The space keeps one that begins with a dash from being an option.
    args: [
      '--model',
      '{model}',
      '--prompt',
      ' {prompt}',
      '--width',
      '{width}',
      '--height',
      '{height}',
      '--seed',
      '{seed}',
      '--threads',
      '{threads}',
      '--output',
      '{out}',
    ],
    variants: { files: new RegExp(`^(${MODEL_NAME})\\.(?:gguf|safetensors|ckpt)$`) },
    threads: 4,
    memoryMb: 12 * GIB,
  },
};
