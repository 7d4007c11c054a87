import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Cap, capsFor, type PlanOverrides, type PlanTerms, termsFor } from '../../src/domain/plan.ts';

const PLAN: PlanTerms = {
  id: 'free',
  name: 'Free',
  slots: 1,
  lineLength: 10,
  caps: [{ cap: 'max_output_tokens', max: 512 }],
  maxAudioMs: 600_000,
  maxDeadlineS: 86_400,
  retentionDays: null,
};

const tag: fc.Arbitrary<string> = fc.constantFrom('free', 'pro', 'cap512');
const cap: fc.Arbitrary<Cap> = fc
  .record(
    { cap: fc.constantFrom('max_output_tokens' as const, 'image_count' as const), max: fc.nat(), tag },
    { requiredKeys: ['cap', 'max'] },
  )
  .map((cap) => cap);
const overrides: fc.Arbitrary<PlanOverrides> = fc.record(
  {
    slots: fc.nat({ max: 100 }),
    lineLength: fc.nat({ max: 100 }),
    caps: fc.array(cap, { maxLength: 3 }),
    maxAudioMs: fc.nat(),
    maxDeadlineS: fc.nat(),
  },
  { requiredKeys: [] },
);

describe('the terms of an account', () => {
  it('are its own where it has any, else the plan’s; and the plan stays as it was', () => {
    const before = structuredClone(PLAN);
    fc.assert(
      fc.property(overrides, (overrides) => {
        const terms = termsFor(PLAN, overrides);
        for (const key of ['slots', 'lineLength', 'caps', 'maxAudioMs', 'maxDeadlineS'] as const)
          expect(terms[key]).toEqual(Object.hasOwn(overrides, key) ? overrides[key] : PLAN[key]);
        expect([terms.id, terms.name]).toEqual(['free', 'Free']);
      }),
    );
    expect(PLAN).toEqual(before);
  });

  it('take zero for zero, not for nothing said', () => {
    expect(termsFor(PLAN, { slots: 0, lineLength: 0 })).toMatchObject({ slots: 0, lineLength: 0 });
  });

  it('hold a model to the caps of its tags and to those without one', () => {
    fc.assert(
      fc.property(fc.array(cap, { maxLength: 6 }), fc.uniqueArray(tag), (caps, tags) => {
        const found = capsFor({ ...PLAN, caps }, 'max_output_tokens', tags);
        const expected = caps.filter(
          ({ cap, tag }) => cap === 'max_output_tokens' && (tag === undefined || tags.includes(tag)),
        );
        expect(found).toEqual(expected);
      }),
    );
  });
});
