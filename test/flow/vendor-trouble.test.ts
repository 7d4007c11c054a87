// A vendor that is away for a moment, and one that refuses the platform itself: what its jobs and the operator see.
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freePort } from '../../src/embedded/port.ts';
import { chat } from '../support/client.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { type Role, spawnWorker } from '../support/spawn.ts';

let millrace: TestPlatform;
let worker: Role;
let account: TestAccount;
const servers: Server[] = [];
beforeAll(async () => {
  millrace = await startPlatform({ worker: false });
  worker = await spawnWorker(millrace);
  account = await millrace.account();
});
afterAll(async () => {
  for (const server of servers) server.close();
  await worker.drain();
  await millrace.stop();
});

async function vendor(port: number, [status, body]: [number, object]): Promise<number> {
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  servers.push(server);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function sell(model: string, port: number): Promise<string> {
  const lines = ['input', 'output'].map((measure) => ({ name: 'token', measure, credits_per_million: '1' }));
  await millrace.admin.send('PUT', `/v1/admin/models/${model}`, { body: { kind: 'chat' } });
  await millrace.admin.post('/v1/admin/prices', { model, lines });
  const route = { model, provider: 'openai', base_url: `http://127.0.0.1:${port}`, api_key: 'of-ours' };
  return (await millrace.admin.post('/v1/admin/routes', route)).body.id as string;
}

it('survives a vendor that is away for a moment', async () => {
  const port = await freePort();
  await sell('away/chat', port);
  const { id } = await account.submit({ ...chat(), model: 'away/chat' });
  // Longer than three attempts at the ordinary pace can take: 500 ms and 1,000 ms at most.
  await sleep(2_000);
  const message = { role: 'assistant', content: 'here again' };
  await vendor(port, [200, { choices: [{ index: 0, message, finish_reason: 'stop' }] }]);
  const job = await account.ended(id);
  expect(job).toMatchObject({ status: 'succeeded', attempt: 2, output: { text: 'here again' } });
});

it('tells the client of a refused key no more than that it may ask again, and the operator all', async () => {
  const port = await vendor(0, [401, { error: { message: 'Incorrect API key provided: of-ours' } }]);
  const route = await sell('locked/chat', port);
  const job = await account.run({ ...chat(), model: 'locked/chat' });
  expect(job).toMatchObject({ status: 'failed', attempt: 1, cost: { credits: 0 } });
  expect(job.error).toEqual({
    code: 'provider_unavailable',
    message: 'The provider does not serve this platform at present.',
    retryable: true,
    details: { attempts: 1 },
  });
  const said = worker.log.filter((line) => line.includes('refuses our key')).map((line) => JSON.parse(line));
  const about = { level: 'error', route, model: 'locked/chat', status: '401', job: job.id, count: 1 };
  expect(said).toMatchObject([about]);
});
