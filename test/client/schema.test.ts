// The client's types are drawn from the document that a live platform serves. After a change of the API:
// `npx vitest run test/client/schema.test.ts -u`.
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startPlatform, type TestPlatform } from '../support/platform.ts';

let platform: TestPlatform;
beforeAll(async () => {
  platform = await startPlatform({ backend: 'postgres', worker: false });
});
afterAll(() => platform.stop());

it('has the types of the API as it is', async () => {
  const { body } = await platform.admin.get('/openapi.json');
  const generator = spawn(process.execPath, ['packages/client/generate.mjs'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  generator.stdin.end(JSON.stringify({ ...body, servers: [] }));
  const types = await text(generator.stdout);
  expect(types).toContain("'/v1/jobs'".replaceAll("'", '"'));
  await expect(types).toMatchFileSnapshot('../../packages/client/src/schema.ts');
});
