// A model that is sold over a Replicate-like server, at 500 credits an image, 10 a character, 50 a second of audio, 1 a token.
import type { Kind } from '../../src/domain/job.ts';
import type { RouteData } from '../../src/domain/model.ts';
import type { Client } from './client.ts';
import type { FakeReplicate } from './replicate.ts';

const PRICES: Record<Kind, [name: string, measure: string, perMillion: string][]> = {
  chat: [
    ['token', 'input', '1000000'],
    ['token', 'output', '1000000'],
  ],
  image: [['image', 'output', '500000000']],
  tts: [['character', 'input', '10000000']],
  stt: [['millisecond', 'input', '50000']],
};

/** @param model its id; the cost of the route is by the vendor's time, 1 credit a second */
export async function sellReplicate(
  admin: Client,
  vendor: FakeReplicate,
  { model, kind, data = {} }: { model: string; kind: Kind; data?: RouteData },
): Promise<void> {
  const lines = PRICES[kind].map(([name, measure, credits_per_million]) => ({
    name,
    measure,
    credits_per_million,
  }));
  const route = {
    model,
    provider: 'replicate',
    base_url: vendor.url,
    api_key: 'r8-key',
    upstream_model: 'mills/flux',
    cost: [{ name: 'millisecond', measure: 'output', credits_per_million: '1000' }],
    data,
  };
  const answers = [
    await admin.send('PUT', `/v1/admin/models/${model}`, { body: { kind } }),
    await admin.post('/v1/admin/prices', { model, lines }),
    await admin.post('/v1/admin/routes', route),
  ];
  for (const { status, body } of answers) if (status > 201) throw new Error(JSON.stringify(body));
}
