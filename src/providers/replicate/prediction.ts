// A prediction as Replicate shows it, as far as it is looked at.
import { isCount } from '../openai/usage.ts';
import { parsed } from '../failure.ts';
import type { Ended } from '../exchange.ts';

export interface Prediction {
  id: string;
  /** starting, processing, succeeded, failed, canceled, aborted; or a word that is new. */
  status: unknown;
  output: unknown;
  error: unknown;
  webhook: string | null;
  /** How long the model worked, in ms, rounded up; null: not told. */
  predictMs: number | null;
  /** Of a language model that counts them. */
  tokens: { input: number; output: number } | null;
}

/** Null: no prediction with an id that can be asked by. */
export function predictionOf(value: unknown): Prediction | null {
  const { id, status, output, error, webhook, metrics } = Object(value) as Record<string, unknown>;
  if (typeof id !== 'string' || !/^[\w-]{1,128}$/.test(id)) return null;
  return {
    id,
    status,
    output,
    error,
    webhook: typeof webhook === 'string' ? webhook : null,
    ...measured(Object(metrics) as Record<string, unknown>),
  };
}

function measured(metrics: Record<string, unknown>): Pick<Prediction, 'predictMs' | 'tokens'> {
  const { predict_time: seconds, input_token_count: input, output_token_count: output } = metrics;
  return {
    predictMs: milliseconds(seconds),
    tokens: isCount(input) && isCount(output) ? { input, output } : null,
  };
}

/** From a success; null where it is none, or holds no prediction. */
export const predictionIn = ({ how, head, body }: Ended): Prediction | null =>
  how === 'done' && head !== null && head.status >= 200 && head.status < 300
    ? predictionOf(parsed(body))
    : null;

function milliseconds(seconds: unknown): number | null {
  const ms = typeof seconds === 'number' ? Math.ceil(seconds * 1000) : NaN;
  return Number.isSafeInteger(ms) && ms >= 0 ? ms : null;
}
