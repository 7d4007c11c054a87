// What a chat's usage object says, in the platform's words.
import type { UsageLine } from '../../domain/job.ts';

/** Null where it does not name both counts as whole numbers: the worker counts then. */
export function chatUsage(usage: unknown): UsageLine[] | null {
  if (typeof usage !== 'object' || usage === null) return null;
  const { prompt_tokens: input, completion_tokens: output } = usage as Record<string, unknown>;
  if (!isCount(input) || !isCount(output)) return null;
  return [
    { name: 'token', measure: 'input', quantity: input },
    { name: 'token', measure: 'output', quantity: output },
  ];
}

export const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0;

/** What images, speech and transcriptions call them. Null likewise. */
export function tokenUsage(usage: unknown): UsageLine[] | null {
  const { input_tokens: input, output_tokens: output } = Object(usage) as Record<string, unknown>;
  return chatUsage({ prompt_tokens: input, completion_tokens: output });
}
