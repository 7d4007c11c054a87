// What an operator sees of an API whose database goes away and comes back: which server it is, that it is back, and the
// process's own numbers all the while.
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { openClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { sample } from '../support/metrics.ts';
import { install, type Installation } from '../support/platform.ts';
import { type Role, spawnApi } from '../support/spawn.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';

vi.setConfig({ testTimeout: 60_000 });

let installation: Installation;
let proxy: TcpProxy;
let api: Role;
beforeAll(async () => {
  installation = await install('postgres');
  const url = installation.env['DATABASE_URL'] as string;
  proxy = await startTcpProxy(url);
  api = await spawnApi(installation, { DATABASE_URL: proxy.through(url) });
});
afterAll(async () => {
  proxy.trouble({});
  await api.drain();
  await proxy.close();
  await installation.remove();
});

const said = (what: string) =>
  api.log.filter((line) => line.includes(`"${what}"`)).map((line) => JSON.parse(line));

it('names the server, counts on, and says when it is back', async () => {
  const requests = 'millrace_requests_total{method="GET",route="/healthz",status="200"}';
  const answers = (server: string) => sample(api.url, `millrace_answers{server="${server}"}`);
  expect([await answers('database'), await answers('queue')]).toEqual([1, 1]);
  proxy.trouble({ refuse: true });
  proxy.cutAll();
  await eventually(() => said('connection trouble').length > 0, { what: 'it is told', withinMs: 20_000 });
  const server = expect.stringMatching(new RegExp(`^PostgreSQL( for reading)? at [\\w.]+:${proxy.port}$`));
  for (const line of said('connection trouble')) expect(line).toMatchObject({ level: 'warn', server });

  await openClient(api.url, null).get('/healthz');
  expect(await sample(api.url, requests)).toBe(1);
  expect([await answers('database'), await answers('queue')]).toEqual([0, 0]);
  expect(await sample(api.url, 'millrace_credits{bucket="held"}')).toBeNaN();
  expect(said('connections work again')).toEqual([]);

  proxy.trouble({});
  await eventually(async () => (await answers('database')) === 1, { what: 'it is read', withinMs: 20_000 });
  await eventually(() => said('connections work again').length > 0, {
    what: 'that it is back is told',
    withinMs: 20_000,
  });
  expect(said('connections work again')[0]).toMatchObject({
    level: 'info',
    server,
    after_ms: expect.any(Number),
  });
});
