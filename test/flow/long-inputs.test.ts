// Inputs too long for a row lie in storage before their job is admitted, and are gone where it is not.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { chat } from '../support/client.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';

let millrace: TestPlatform;
let account: TestAccount;
beforeAll(async () => {
  millrace = await startPlatform({ worker: false });
  account = await millrace.account({ overrides: { slots: 1, line_length: 2 } });
});
afterAll(() => millrace.stop());

const keys = async (): Promise<string[]> => {
  const found: string[] = [];
  for await (const { key } of millrace.platform.ctx.storage.list()) found.push(key);
  return found;
};
const long = chat('x'.repeat(100_000));

it.each([
  ['an item is none', [long, { model: 'sim/none', input: {} }]],
  ['there is no room for all', [long, long, long, long, long]],
])('of a batch of all or nothing, where %s', async (_, jobs) => {
  const answer = await account.post('/v1/jobs/batch', { jobs, all_or_nothing: true });
  expect(answer.status).toBeGreaterThanOrEqual(400);
  expect(await keys()).toEqual([]);
});

it('of those of a batch that are refused, and of a submission', async () => {
  const { body } = await account.post('/v1/jobs/batch', { jobs: [long, long, long, long, long] });
  const admitted = body.data.filter(({ status }: { status: number }) => status === 202);
  expect(admitted.length).toBeGreaterThan(0);
  expect(admitted.length).toBeLessThan(5);
  expect((await account.post('/v1/jobs', long)).status).toBe(429);
  expect(await keys()).toHaveLength(admitted.length);
});
