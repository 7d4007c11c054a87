import type { Kind } from './job.ts';

const MINUTE = 60_000;

/** How long one attempt may take (contract 19). */
export const ATTEMPT_LIMIT_MS: Record<Kind, number> = {
  chat: 10 * MINUTE,
  image: 5 * MINUTE,
  tts: 5 * MINUTE,
  stt: 30 * MINUTE,
};
