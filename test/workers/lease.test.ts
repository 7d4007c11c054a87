// What a worker says of a database that is away.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { install, type Installation } from '../support/platform.ts';
import { spawnWorker } from '../support/spawn.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';

let installation: Installation;
let proxy: TcpProxy;
beforeAll(async () => {
  installation = await install('postgres');
  proxy = await startTcpProxy(installation.env['DATABASE_URL'] as string);
});
afterAll(async () => {
  await proxy.close();
  await installation.remove();
});

const OUTAGE_MS = 2_000;

it('tells an outage once when it begins and once when it is over, with its length', async () => {
  const url = proxy.through(installation.env['DATABASE_URL'] as string);
  // The lease is asked for six times a second.
  const worker = await spawnWorker(installation, { env: { DATABASE_URL: url, LEASE_MS: '500' } });
  const said = (words: string) => worker.log.filter((line) => line.includes(words));
  try {
    for (const outages of [1, 2]) {
      const began = performance.now();
      proxy.trouble({ refuse: true });
      proxy.cutAll();
      await sleep(OUTAGE_MS);
      proxy.trouble({});
      await eventually(() => said('the lease can be renewed again').length === outages, {
        what: 'the end of the outage is told',
        withinMs: 20_000,
      });
      expect(said('the lease could not be renewed')).toHaveLength(outages);
      const { after_ms, level } = JSON.parse(said('the lease can be renewed again').at(-1) ?? '');
      expect(level).toBe('info');
      expect(after_ms).toBeGreaterThan(OUTAGE_MS / 4);
      expect(after_ms).toBeLessThanOrEqual(performance.now() - began);
    }
    expect(JSON.parse(said('the lease could not be renewed')[0] ?? '')).toMatchObject({
      level: 'warn',
      err: { message: expect.stringMatching(/\w/) },
    });
  } finally {
    await worker.drain();
  }
}, 90_000);
