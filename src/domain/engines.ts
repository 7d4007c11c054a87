import type { Kind } from './job.ts';

/**
 * The engines on the command line that provider `exec` can start, by the name a route calls them, and what each does.
 * How they are started is code (src/providers/exec/engines.ts): nothing that an operator types becomes a command.
 */
export const ENGINE_KINDS = {
  flite: 'tts',
  'espeak-ng': 'tts',
  piper: 'tts',
  pocketsphinx: 'stt',
  'whisper-cli': 'stt',
  sd: 'image',
} as const satisfies Record<string, Kind>;

export type EngineName = keyof typeof ENGINE_KINDS;

/** `<engine>` or `<engine>:<variant>`, a variant being a voice or a model file. */
const UPSTREAM = /^([a-z-]{1,40})(?::([A-Za-z0-9][A-Za-z0-9._-]{0,99}))?$/;

/** A route's upstream model taken apart; null: it names no engine. */
export function engineOf(upstreamModel: string): { engine: EngineName; variant: string | null } | null {
  const [, engine = '', variant = null] = UPSTREAM.exec(upstreamModel) ?? [];
  return Object.hasOwn(ENGINE_KINDS, engine) ? { engine: engine as EngineName, variant } : null;
}

/** The engines that do a kind. */
export const enginesFor = (kind: Kind): EngineName[] =>
  (Object.keys(ENGINE_KINDS) as EngineName[]).filter((name) => ENGINE_KINDS[name] === kind);
