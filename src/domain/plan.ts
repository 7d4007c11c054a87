// What a plan allows, and what an account's own overrides make of it. The rules know no plan by name.

/** A cap of one request. `tag` limits it to models that carry the tag. */
export type Cap = { tag?: string } & (
  | { cap: 'max_output_tokens' | 'image_count' | 'request_cost' | 'image_cost'; max: number }
  | { cap: 'image_size'; max: string }
  | { cap: 'image_attachment'; max: 0 }
);

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
}

/** An account's overrides: the same words as a plan, each optional. */
export type PlanOverrides = Partial<Pick<PlanTerms, 'slots' | 'lineLength' | 'caps' | 'maxAudioMs' | 'maxDeadlineS'>>;

export function termsFor(plan: PlanTerms, overrides: PlanOverrides): PlanTerms {
  return { ...plan, ...overrides };
}

/** The caps of one name that concern a model with these tags. */
export function capsFor<C extends Cap['cap']>(terms: PlanTerms, cap: C, tags: readonly string[]): Extract<Cap, { cap: C }>[] {
  return terms.caps.filter(
    (candidate): candidate is Extract<Cap, { cap: C }> =>
      candidate.cap === cap && (candidate.tag === undefined || tags.includes(candidate.tag)),
  );
}
