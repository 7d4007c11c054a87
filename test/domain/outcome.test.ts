import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JOB_ERROR_CODES, KINDS, type UsageLine } from '../../src/domain/job.ts';
import {
  awayMs,
  backoffMs,
  conclude,
  endWaiting,
  MAX_ATTEMPTS,
  MAX_INTERRUPTIONS,
  type Outcome,
  type Settling,
  type Verdict,
} from '../../src/domain/outcome.ts';
import { type PriceLine, priceOf } from '../../src/domain/pricing.ts';

const NOW = new Date('2026-11-20T12:00:00.000Z');
const PRICE: PriceLine[] = [
  { name: 'token', measure: 'input', creditsPerMillion: 1_000_000n },
  { name: 'token', measure: 'output', creditsPerMillion: 4_500_000n },
];

const tokens = (input: number, output: number): UsageLine[] => [
  { name: 'token', measure: 'input', quantity: input },
  { name: 'token', measure: 'output', quantity: output },
];
const usage = fc.tuple(fc.nat({ max: 500 }), fc.nat({ max: 500 })).map(([i, o]) => tokens(i, o));

const job: fc.Arbitrary<Settling> = fc.record({
  kind: fc.constantFrom(...KINDS),
  hold: fc.bigInt({ min: 0n, max: 2_000n }),
  price: fc.constant(PRICE),
  failures: fc.nat({ max: MAX_ATTEMPTS - 1 }),
  routes: fc.integer({ min: 1, max: 3 }),
  interruptions: fc.nat({ max: MAX_INTERRUPTIONS - 1 }),
  ambiguous: fc.nat({ max: 1 }),
  deadline: fc.integer({ min: -10_000, max: 60_000 }).map((ms) => new Date(NOW.getTime() + ms)),
  deadlineNamed: fc.boolean(),
  cancelRequested: fc.constantFrom(null, null, 'client', 'operator', 'suspension'),
  chargeRefused: fc.boolean(),
});

const used = fc.record({ output: fc.constant('{"text":"flour","completion":null}'), usage });
const outcome: fc.Arbitrary<Outcome> = fc.oneof(
  fc.record({ type: fc.constant('succeeded' as const), output: fc.constant('{}'), usage }),
  fc.record({
    type: fc.constant('failed' as const),
    code: fc.constantFrom(...JOB_ERROR_CODES),
    message: fc.constant('It failed.'),
    retryable: fc.boolean(),
    retryAfterMs: fc.option(fc.nat({ max: 90_000 })),
    ambiguous: fc.boolean(),
    unsent: fc.boolean(),
    oursToMend: fc.boolean(),
    billed: fc.option(usage),
  }),
  fc.record({
    type: fc.constant('stopped' as const),
    reason: fc.constantFrom('cancel' as const, 'deadline' as const),
    output: fc.constantFrom('{"text":"flour","completion":null}', null),
    usage,
  }),
  fc.record({ type: fc.constant('interrupted' as const), used: fc.option(used) }),
);
const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

const base: Settling = {
  kind: 'chat',
  hold: 1_000n,
  price: PRICE,
  failures: 0,
  routes: 1,
  interruptions: 0,
  ambiguous: 0,
  deadline: new Date(NOW.getTime() + 3_600_000),
  deadlineNamed: false,
  cancelRequested: null,
  chargeRefused: false,
};
const failed: Outcome & { type: 'failed' } = {
  type: 'failed',
  code: 'provider_unavailable',
  message: 'It failed.',
  retryable: true,
  retryAfterMs: null,
  ambiguous: false,
  billed: null,
};
const at = { now: NOW, random: 0.5 };

describe('the end of an attempt', () => {
  it('never costs more than the hold, nor anything for who did not use or end it', () => {
    const seen = new Map<string, number>();
    fc.assert(
      fc.property(job, outcome, random, (job, outcome, random) => {
        const verdict = conclude(job, outcome, { now: NOW, random });
        const kind = verdict.type === 'end' ? verdict.status : verdict.type;
        seen.set(kind, (seen.get(kind) ?? 0) + 1);
        if (verdict.type === 'again') return;
        expect(verdict.cost >= 0n && verdict.cost <= job.hold).toBe(true);
        expect(verdict.overrun >= 0n).toBe(true);
        const refused =
          job.chargeRefused && verdict.status === 'failed' && verdict.error?.code === 'content_refused';
        if (verdict.status === 'failed' && !refused)
          expect(verdict).toMatchObject({ cost: 0n, overrun: 0n, usage: null });
        if (verdict.status === 'failed' || verdict.status === 'expired') expect(verdict.error).not.toBeNull();
        const byClient = verdict.status === 'canceled' ? job.cancelRequested === 'client' : job.deadlineNamed;
        if (verdict.status !== 'succeeded' && !byClient && !refused) expect(verdict.cost).toBe(0n);
        // What is charged is shown; nothing is both charged and waste.
        if (verdict.cost > 0n) {
          expect(verdict.waste).toBeNull();
          expect(verdict.cost + verdict.overrun).toBe(priceOf(PRICE, verdict.usage ?? []));
          expect(verdict.overrun > 0n ? verdict.cost : job.hold).toBe(job.hold);
        }
      }),
      { numRuns: 4_000 },
    );
    expect([...seen.keys()].toSorted()).toEqual(['again', 'canceled', 'expired', 'failed', 'succeeded']);
  });

  it('runs a job again only within its attempts, its deadline, and its client’s wish', () => {
    fc.assert(
      fc.property(job, outcome, random, (job, outcome, random) => {
        const verdict = conclude(job, outcome, { now: NOW, random });
        if (verdict.type === 'end') return;
        expect(job.cancelRequested).toBeNull();
        expect(NOW.getTime() + verdict.waitMs).toBeLessThan(job.deadline.getTime());
        if (verdict.counts === 'failure') expect(job.failures + 1).toBeLessThan(MAX_ATTEMPTS);
        else expect(job.interruptions + 1).toBeLessThan(MAX_INTERRUPTIONS);
        if (verdict.ambiguous) expect(job.ambiguous).toBe(0);
        if (outcome.type === 'failed') {
          expect(outcome.retryable).toBe(true);
          expect(outcome.oursToMend).toBe(false);
          expect(verdict.waitMs).toBeGreaterThanOrEqual(outcome.retryAfterMs ?? 0);
        }
      }),
      { numRuns: 4_000 },
    );
  });

  it('comes for every job, whatever befalls it: three failures, two lost answers, ten interruptions', () => {
    const trouble = outcome.filter(({ type }) => type === 'failed' || type === 'interrupted');
    fc.assert(
      fc.property(fc.array(trouble, { minLength: 12, maxLength: 12 }), random, (outcomes, random) => {
        const far = new Date(NOW.getTime() + 86_400_000);
        let job: Settling = { ...base, deadline: far };
        const counts = { failure: 0, interruption: 0 };
        let last: Verdict | null = null;
        for (const outcome of outcomes) {
          last = conclude(job, outcome, { now: NOW, random });
          if (last.type === 'end') break;
          counts[last.counts]++;
          job = Object.assign({}, job, {
            failures: counts.failure,
            interruptions: counts.interruption,
            ambiguous: job.ambiguous + (last.ambiguous ? 1 : 0),
          });
        }
        expect(last).toMatchObject({ type: 'end', status: 'failed', cost: 0n });
        expect(counts.failure).toBeLessThan(MAX_ATTEMPTS);
        expect(counts.interruption).toBeLessThan(MAX_INTERRUPTIONS);
      }),
    );
  });

  it('fails at the third failure, the second lost answer, the tenth interruption; not before', () => {
    expect(conclude({ ...base, failures: 1 }, failed, at)).toMatchObject({
      type: 'again',
      counts: 'failure',
    });
    expect(conclude({ ...base, failures: 2 }, failed, at)).toMatchObject({
      type: 'end',
      status: 'failed',
      error: { code: 'provider_unavailable', retryable: true, details: { attempts: 3 } },
    });
    const lost = { ...failed, ambiguous: true };
    expect(conclude(base, lost, at)).toMatchObject({ type: 'again', ambiguous: true });
    expect(conclude({ ...base, failures: 1, ambiguous: 1 }, lost, at)).toMatchObject({ status: 'failed' });
    const interrupted = { type: 'interrupted', used: null } as const;
    expect(conclude({ ...base, interruptions: 8, failures: 2 }, interrupted, at)).toMatchObject({
      type: 'again',
      counts: 'interruption',
      waitMs: 0,
    });
    expect(conclude({ ...base, interruptions: 9 }, interrupted, at)).toMatchObject({
      status: 'failed',
      cost: 0n,
      error: { code: 'internal' },
    });
  });

  it('is final at once where the same call would fail again', () => {
    const rejected = { ...failed, code: 'provider_rejected', retryable: false } as const;
    expect(conclude(base, rejected, at)).toMatchObject({
      status: 'failed',
      error: { code: 'provider_rejected', retryable: false, details: { attempts: 1 } },
    });
  });
});

describe('what each end costs', () => {
  const price = priceOf(PRICE, tokens(10, 20));
  const succeeded: Outcome = { type: 'succeeded', output: '{}', usage: tokens(10, 20) };
  const refusal = { code: 'content_refused', retryable: false } as const;
  const stopped = (reason: 'cancel' | 'deadline'): Outcome => ({
    type: 'stopped',
    reason,
    output: '{"text":"flour"}',
    usage: tokens(10, 20),
  });

  it.each<[string, Settling, Outcome, object]>([
    ['success', base, succeeded, { status: 'succeeded', cost: price, overrun: 0n }],
    ['success beyond the hold', { ...base, hold: 30n }, succeeded, { cost: 30n, overrun: price - 30n }],
    ['a free hold', { ...base, hold: 0n }, succeeded, { status: 'succeeded', cost: 0n, overrun: price }],
    [
      'the client’s cancel',
      { ...base, cancelRequested: 'client' },
      stopped('cancel'),
      { status: 'canceled', cost: price, output: '{"text":"flour"}', waste: null },
    ],
    [
      'the operator’s cancel',
      { ...base, cancelRequested: 'operator' },
      stopped('cancel'),
      { status: 'canceled', cost: 0n, usage: null, waste: tokens(10, 20) },
    ],
    [
      'suspension',
      { ...base, cancelRequested: 'suspension' },
      stopped('cancel'),
      { status: 'canceled', cost: 0n, waste: tokens(10, 20) },
    ],
    [
      'the client’s deadline',
      { ...base, deadlineNamed: true },
      stopped('deadline'),
      { status: 'expired', cost: price, error: { code: 'deadline_exceeded' } },
    ],
    [
      'the platform’s deadline',
      base,
      stopped('deadline'),
      { status: 'expired', cost: 0n, waste: tokens(10, 20) },
    ],
    [
      'success although a stop was asked',
      { ...base, cancelRequested: 'client' },
      succeeded,
      { status: 'succeeded', cost: price },
    ],
    [
      'a failure after a stop was asked',
      { ...base, cancelRequested: 'client' },
      { ...failed, billed: tokens(1, 1) },
      { status: 'canceled', cost: 0n, waste: tokens(1, 1) },
    ],
    [
      'a refusal by the content policy',
      base,
      { ...failed, ...refusal, billed: tokens(10, 20) },
      { status: 'failed', cost: 0n, usage: null, waste: tokens(10, 20) },
    ],
    [
      'a refusal that the model’s data charge',
      { ...base, chargeRefused: true },
      { ...failed, ...refusal, billed: tokens(10, 20) },
      {
        status: 'failed',
        cost: price,
        usage: tokens(10, 20),
        waste: null,
        error: { code: 'content_refused' },
      },
    ],
    [
      'such a refusal beyond the hold',
      { ...base, chargeRefused: true, hold: 30n },
      { ...failed, ...refusal, billed: tokens(10, 20) },
      { status: 'failed', cost: 30n, overrun: price - 30n },
    ],
    [
      'any other failure of such a model',
      { ...base, chargeRefused: true },
      { ...failed, retryable: false, billed: tokens(10, 20) },
      { status: 'failed', cost: 0n, waste: tokens(10, 20) },
    ],
    [
      'such a refusal of what somebody had wanted stopped',
      { ...base, chargeRefused: true, cancelRequested: 'operator' },
      { ...failed, ...refusal, billed: tokens(10, 20) },
      { status: 'canceled', cost: 0n, waste: tokens(10, 20) },
    ],
    [
      'a chat whose stop was asked and whose worker went',
      { ...base, cancelRequested: 'client' },
      { type: 'interrupted', used: { output: '{"text":"flour"}', usage: tokens(10, 20) } },
      { status: 'canceled', cost: price, output: '{"text":"flour"}' },
    ],
    [
      'the same by the operator',
      { ...base, cancelRequested: 'operator' },
      { type: 'interrupted', used: { output: '{}', usage: tokens(10, 20) } },
      { status: 'canceled', cost: 0n, waste: tokens(10, 20) },
    ],
    [
      'any other kind whose stop was asked and whose worker went',
      { ...base, kind: 'image', cancelRequested: 'client' },
      { type: 'interrupted', used: null },
      { status: 'canceled', cost: 0n },
    ],
    [
      'an interruption past the deadline, which is no fault of the client’s',
      { ...base, deadline: NOW, deadlineNamed: true },
      { type: 'interrupted', used: { output: '{}', usage: tokens(10, 20) } },
      { status: 'expired', cost: 0n, waste: tokens(10, 20) },
    ],
  ])('%s', (_, job, outcome, expected) => {
    expect(conclude(job, outcome, at)).toMatchObject({ type: 'end', ...expected });
  });

  it('nothing while it waits', () => {
    expect(endWaiting('canceled')).toMatchObject({ status: 'canceled', cost: 0n, error: null });
    expect(endWaiting('expired')).toMatchObject({
      status: 'expired',
      cost: 0n,
      error: { code: 'deadline_exceeded' },
    });
  });
});

describe('a vendor that takes no connection', () => {
  const unsent = { ...failed, unsent: true };
  const wait = (job: Partial<Settling>, random: number, outcome: Outcome = unsent): number | null => {
    const verdict = conclude({ ...base, ...job }, outcome, { now: NOW, random });
    return verdict.type === 'again' ? verdict.waitMs : null;
  };

  it('is waited for as long as a restart takes, within the three attempts', () => {
    fc.assert(
      fc.property(random, random, (one, two) => {
        const total = (wait({}, one) ?? 0) + (wait({ failures: 1 }, two) ?? 0);
        expect(total).toBeGreaterThanOrEqual(18_000);
        expect(total).toBeLessThanOrEqual(36_000);
      }),
    );
    expect(wait({ failures: 2 }, 0.5)).toBeNull();
    expect([0, 1].map((failures) => awayMs(failures, 0))).toEqual([3_000, 15_000]);
  });

  it('is left for the other routes first', () => {
    expect(wait({ routes: 2 }, 0.5)).toBe(backoffMs(0, 0.5));
    expect(wait({ routes: 2, failures: 1 }, 0.5)).toBe(awayMs(1, 0.5));
  });

  it('is not waited for past the deadline, where it may still be back sooner', () => {
    const deadline = new Date(NOW.getTime() + 2_000);
    expect(wait({ deadline }, 0.5)).toBe(backoffMs(0, 0.5));
  });

  it('and so is our own storage, whatever other routes there are', () => {
    const stored: Outcome = { ...failed, code: 'storage_unavailable' };
    expect(wait({ routes: 2 }, 0.5, stored)).toBe(awayMs(0, 0.5));
  });

  it('and any other failure is not waited for as long', () => {
    expect(wait({ failures: 1 }, 0.999, failed)).toBeLessThan(1_000);
  });
});

describe('a vendor that refuses the platform', () => {
  it('is asked once, and the client may ask again later', () => {
    expect(conclude(base, { ...failed, oursToMend: true }, at)).toMatchObject({
      type: 'end',
      status: 'failed',
      cost: 0n,
      error: { code: 'provider_unavailable', retryable: true, details: { attempts: 1 } },
    });
  });
});

describe('back-off', () => {
  it('has full jitter under a ceiling that doubles from half a second to thirty', () => {
    fc.assert(
      fc.property(fc.nat({ max: 40 }), random, (failures, random) => {
        const ceiling = Math.min(30_000, 500 * 2 ** failures);
        expect(backoffMs(failures, random)).toBe(Math.round(random * ceiling));
      }),
    );
    expect([0, 1, 2, 10].map((failures) => backoffMs(failures, 0.999_999))).toEqual([
      500, 1_000, 2_000, 30_000,
    ]);
  });

  it('obeys the vendor’s pause, up to the deadline', () => {
    const asked = { ...failed, retryAfterMs: 5_000 };
    expect(conclude(base, asked, { now: NOW, random: 0 })).toMatchObject({ type: 'again', waitMs: 5_000 });
    const soon = { ...base, deadline: new Date(NOW.getTime() + 5_000) };
    expect(conclude(soon, asked, { now: NOW, random: 0 })).toMatchObject({ type: 'end', status: 'failed' });
    const later = { ...base, deadline: new Date(NOW.getTime() + 5_001) };
    expect(conclude(later, asked, { now: NOW, random: 0 })).toMatchObject({ type: 'again', waitMs: 5_000 });
  });
});
