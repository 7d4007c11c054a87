import { describe, expect, it } from 'vitest';
import type { CallResult } from '../../../src/providers/provider.ts';
import { simProvider } from '../../../src/providers/sim/index.ts';
import { until } from '../support.ts';
import { at, callWith, KINDS, logged, provider, sim } from './platform.ts';

describe.each(KINDS)('a %s that goes wrong', (kind) => {
  it.each([
    ['429', { code: 'provider_rate_limited', retryable: true, retryAfterMs: null }],
    ['429-retry-after', { code: 'provider_rate_limited', retryable: true, retryAfterMs: 1_000 }],
    ['500', { code: 'provider_unavailable', retryable: true }],
    ['refusal', { code: 'content_refused', retryable: false }],
    ['cut', { code: 'provider_unavailable', retryable: true }],
  ])('by %s fails as it should', async (fault, expected) => {
    expect(await provider.call(at, await callWith(kind, { fault }))).toMatchObject({
      type: 'failed',
      ...expected,
    });
  });

  it.each([1, 2, 3])('by malformed fails in each of its forms (%d)', async (attempt) => {
    const result = await provider.call(at, await callWith(kind, { fault: 'malformed' }, { attempt }));
    expect(result).toMatchObject({ type: 'failed', code: 'provider_malformed', retryable: true });
  });

  it('by wrong-usage succeeds with the usage as reported', async () => {
    const result = await provider.call(at, await callWith(kind, { fault: 'wrong-usage' }));
    const right = await provider.call(at, await callWith(kind, {}));
    if (result.type !== 'succeeded' || right.type !== 'succeeded') throw new Error('both should succeed');
    expect(result.usage).toEqual(
      right.usage!.map(({ name, measure, quantity }) => ({ name, measure, quantity: quantity * 1_000 })),
    );
  });

  it('by hang and by drip is a timeout', async () => {
    const impatient = simProvider({ url: sim.url, totalMs: { [kind]: 400 } });
    for (const fault of ['hang', 'drip']) {
      const call = await callWith(kind, { fault });
      expect(await impatient.call(at, call)).toMatchObject({
        type: 'failed',
        code: 'provider_timeout',
        retryable: true,
      });
      expect(await logged(call.jobId)).toMatchObject({ outcome: 'gone', billed: false });
    }
    await impatient.close();
  });

  it('by billed-then-lost is ambiguous, and its result can be looked up', async () => {
    const call = await callWith(kind, { fault: 'billed-then-lost' });
    expect(await provider.call(at, call)).toMatchObject({
      type: 'ambiguous',
      evidence: { sent: true, http_status: null },
    });
    const earlier = { attempt: 1, remoteId: null, callbackUrl: null };
    const right = await provider.call(at, await callWith(kind, {}));
    const found = await provider.lookup!(at, { ...call, attempt: 2 }, earlier);
    expect(found).toMatchObject({ type: 'succeeded', usage: (right as { usage: object }).usage });
    expect(comparable(found!)).toEqual(comparable(right));
    expect(await provider.lookup!(at, call, { attempt: 2, remoteId: null, callbackUrl: null })).toBeNull();
  });

  it('by async is followed to its end, its name being kept first', async () => {
    const names: string[] = [];
    let kept = false;
    const call = await callWith(
      kind,
      { fault: 'async', latency_ms: 120 },
      {
        onRemoteId: async (id) => {
          names.push(id);
          await new Promise((resolve) => setImmediate(resolve));
          kept = true;
        },
      },
    );
    const right = await provider.call(at, await callWith(kind, {}));
    const result = await provider.call(at, call);
    expect(comparable(result)).toEqual(comparable(right));
    expect([names.length, kept]).toEqual([1, true]);
    const again = await provider.lookup!(
      at,
      { ...call, attempt: 2 },
      { attempt: 1, remoteId: names[0]!, callbackUrl: null },
    );
    expect(comparable(again!)).toEqual(comparable(right));
  });

  it('by async can be stopped, and looked up where it is not known', async () => {
    const controller = new AbortController();
    const call = await callWith(
      kind,
      { fault: 'async', latency_ms: 60_000 },
      { signal: controller.signal, onRemoteId: async () => void setTimeout(() => controller.abort(), 20) },
    );
    expect(await provider.call(at, call)).toMatchObject({ type: 'stopped' });
    expect(await provider.stop!(at, { ...call, remoteId: null })).toBe(true);
    expect(
      await provider.lookup!(
        at,
        { ...call, signal: new AbortController().signal },
        { attempt: 1, remoteId: 'rem_nobody', callbackUrl: null },
      ),
    ).toBeNull();
  });

  it('can be stopped while it runs, for nothing', async () => {
    const controller = new AbortController();
    const call = await callWith(kind, { latency_ms: 60_000 }, { signal: controller.signal });
    const running = provider.call(at, call);
    await until(async () => (await sim.calls()).some((row) => row.job_id === call.jobId));
    expect(await provider.stop!(at, { ...call, remoteId: null })).toBe(true);
    controller.abort();
    expect(await running).toMatchObject({ type: 'stopped' });
    expect(await logged(call.jobId)).toMatchObject({ outcome: 'stopped', billed: false });
  });

  it('aborted without a word to the vendor, has its socket closed', async () => {
    const controller = new AbortController();
    const call = await callWith(kind, { latency_ms: 60_000 }, { signal: controller.signal });
    const running = provider.call(at, call);
    await until(async () => (await sim.calls()).some((row) => row.job_id === call.jobId));
    controller.abort();
    expect(await running).toMatchObject({ type: 'stopped', usage: null });
    expect(await logged(call.jobId)).toMatchObject({ outcome: 'gone', billed: false });
  });
});

/** What two results of the same work have in common: all but ids and times. */
function comparable(result: CallResult): unknown {
  if (result.type !== 'succeeded') return result;
  const { output: made, usage } = result;
  return made.kind === 'chat' ? { text: made.text, usage } : { made, usage };
}
