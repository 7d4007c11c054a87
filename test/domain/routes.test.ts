import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ModelRoute } from '../../src/domain/model.ts';
import { openRoutes, routeAfter } from '../../src/domain/routes.ts';

const route = fc.record({
  provider: fc.constantFrom('sim', 'openai'),
  enabled: fc.boolean(),
  data: fc.record(
    {
      unknown_fields: fc.constantFrom('pass' as const, 'refuse' as const),
      fields: fc.uniqueArray(fc.constantFrom('a', 'b')),
    },
    { requiredKeys: [] },
  ),
});
const routes = fc
  .array(route, { minLength: 1, maxLength: 5 })
  .map((all) =>
    all.map((some, i): ModelRoute => ({ ...some, id: `rte_${i}`, upstreamModel: 'm', cost: [] })),
  );
const takes = ({ data }: ModelRoute, field: string) =>
  data.unknown_fields === 'pass' || (data.fields ?? []).includes(field);

describe('routes', () => {
  it('keep a test key with the simulator, at the first attempt and at every other', () => {
    fc.assert(
      fc.property(routes, fc.nat(), (routes, start) => {
        expect(openRoutes({ routes }, { livemode: false }).every(({ provider }) => provider === 'sim')).toBe(
          true,
        );
        let routeId = routes[start % routes.length]!.id;
        for (let i = 0; i < 6; i++) {
          const next = routeAfter({ routes }, { livemode: false, routeId });
          if (next !== routeId)
            expect(routes.find(({ id }) => id === next)).toMatchObject({ provider: 'sim' });
          routeId = next;
        }
      }),
    );
  });

  it('go round all that take what the first took, and to no other', () => {
    fc.assert(
      fc.property(routes, fc.nat(), (routes, start) => {
        const first = routes[start % routes.length]!;
        const seen = new Set<string>();
        let routeId = first.id;
        for (let i = 0; i < 2 * routes.length; i++) {
          routeId = routeAfter({ routes }, { livemode: true, routeId });
          seen.add(routeId);
        }
        for (const id of seen) {
          const route = routes.find((candidate) => candidate.id === id)!;
          for (const field of ['a', 'b', 'c'])
            if (takes(first, field)) expect(takes(route, field)).toBe(true);
          if (id !== first.id) expect(route.enabled).toBe(true);
        }
      }),
    );
  });

  it('are tried in order, and again from the first', () => {
    const routes = [0, 1, 2].map((i): ModelRoute => ({
      id: `rte_${i}`,
      provider: 'openai',
      upstreamModel: 'm',
      enabled: i !== 1,
      cost: [],
      data: {},
    }));
    const after = (routeId: string) => routeAfter({ routes }, { livemode: true, routeId });
    expect([after('rte_0'), after('rte_2'), after('rte_gone')]).toEqual(['rte_2', 'rte_0', 'rte_0']);
    expect(routeAfter({ routes }, { livemode: false, routeId: 'rte_0' })).toBe('rte_0');
  });
});
