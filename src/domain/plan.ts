// What a plan allows, and what an account's own overrides make of it. The rules know no plan by name.
import { type AppError, fieldName, invalidRequest } from './errors.ts';

/** A cap of one request. `tag` limits it to models that carry the tag. Sizes are `<width>x<height>`. */
export type Cap = { [C in keyof CapValues]: { cap: C; max: CapValues[C]; tag?: string } }[keyof CapValues];

interface CapValues {
  max_output_tokens: number;
  image_count: number;
  image_attachment: number;
  image_size: string;
  /** Credits of one image, and of one request. */
  image_cost: number;
  request_cost: number;
}

export interface PlanTerms {
  id: string;
  name: string;
  /** Jobs of the account that may run at once. */
  slots: number;
  /** Jobs that may wait besides. */
  lineLength: number;
  caps: readonly Cap[];
  /** Audio of unknown length is held for this much, in milliseconds. */
  maxAudioMs: number;
  /** The latest deadline a job may have, in seconds from its submission. */
  maxDeadlineS: number;
  /** Artifacts are kept for so long, in days; null: until they are deleted. */
  retentionDays: number | null;
}

/** An account's overrides: the same words as a plan, each optional. */
export type PlanOverrides = Partial<
  Pick<PlanTerms, 'slots' | 'lineLength' | 'caps' | 'maxAudioMs' | 'maxDeadlineS' | 'retentionDays'>
>;

export function termsFor(plan: PlanTerms, overrides: PlanOverrides): PlanTerms {
  return { ...plan, ...overrides };
}

/** @param known the ids of all plans */
export function notAPlan(plan: string, known: readonly string[]): AppError {
  return invalidRequest({
    path: 'plan',
    message: `must be one of: ${known.join(', ')}`,
    expected: known,
    received: fieldName(plan),
  });
}

/** The caps of one name that concern a model with these tags. */
export function capsFor<C extends Cap['cap']>(
  terms: PlanTerms,
  cap: C,
  tags: readonly string[],
): Extract<Cap, { cap: C }>[] {
  return terms.caps.filter(
    (candidate): candidate is Extract<Cap, { cap: C }> =>
      candidate.cap === cap && (candidate.tag === undefined || tags.includes(candidate.tag)),
  );
}
