// The commands by which docs/operating.md sells a model of Replicate, sent as they stand, but for the vendor's address.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { startPlatform } from './support/platform.ts';
import { startReplicate } from './support/replicate.ts';

const TEXT = readFileSync(join(import.meta.dirname, '../docs/operating.md'), 'utf8');

it('the model of Replicate that an operator adds by hand can be called', async () => {
  const vendor = await startReplicate();
  const millrace = await startPlatform();
  const commands = [...TEXT.matchAll(/^operator (\S+) (PUT|POST) '(\{[^]*?\})'$/gm)];
  expect(commands).toHaveLength(3);
  for (const [, path = '', method = '', body = ''] of commands) {
    const said = body
      .replace(`'"$REPLICATE_API_TOKEN"'`, 'r8-key')
      .replace('https://api.replicate.com/v1', vendor.url);
    const { status, body: answer } = await millrace.admin.send(method, path, {
      body: said,
      headers: JSON_BODY,
    });
    expect(status, JSON.stringify(answer)).toBeLessThan(300);
  }
  const account = await millrace.account();
  const job = await account.run({ model: 'mill/flux', input: { prompt: 'a mill' } });
  expect(job).toMatchObject({ status: 'succeeded', cost: { credits: 8_000 } });
  expect(vendor.submits).toMatchObject([
    {
      path: '/v1/models/black-forest-labs/flux-schnell/predictions',
      body: { input: { prompt: 'a mill', num_outputs: 1, output_format: 'png' } },
    },
  ]);
  expect(vendor.submits[0]?.body.input).not.toHaveProperty('width');
  await millrace.stop();
  await vendor.close();
});

const JSON_BODY = { 'content-type': 'application/json' };
