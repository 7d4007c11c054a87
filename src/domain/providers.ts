import { type Kind, KINDS } from './job.ts';

/** The providers there are (src/providers/registry.ts), and the kinds each can do. A route may name no other. */
export const PROVIDER_KINDS = {
  sim: KINDS,
  openai: KINDS,
  replicate: KINDS,
  exec: ['image', 'tts', 'stt'],
} as const satisfies Record<string, readonly Kind[]>;

export type ProviderName = keyof typeof PROVIDER_KINDS;

export const providerDoes = (provider: string, kind: Kind): boolean =>
  (PROVIDER_KINDS as Record<string, readonly Kind[]>)[provider]?.includes(kind) ?? false;
