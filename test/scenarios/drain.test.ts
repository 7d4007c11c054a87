// SIGTERM: nothing more is taken, waits are answered, what ends in time ends, the rest is handed back at no attempt, and the
// process exits within 25 s.
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { dataFolder, type Folder } from '../embedded/folder.ts';
import { chat, type Json, openClient } from '../support/client.ts';
import { runNode } from '../support/command.ts';
import { eventually } from '../support/eventually.ts';
import { BACKENDS, startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { openCalls } from '../support/sim-log.ts';
import { type Role, spawnApi, spawnWorker } from '../support/spawn.ts';

vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

const EXIT_MS = 25_000;

/** SIGTERM; answers the exit code and how long it took. */
async function drained(role: Pick<Role, 'drain'>): Promise<{ code: number | string; ms: number }> {
  const began = performance.now();
  const code = await role.drain();
  return { code, ms: performance.now() - began };
}

describe.each(BACKENDS)('a worker on %s', (backend) => {
  let millrace: TestPlatform;
  let account: TestAccount;
  beforeAll(async () => {
    // A lease that is not waited for: what is handed back is another's at once.
    millrace = await startPlatform({ backend, worker: false, env: { LEASE_MS: '60000' } });
    account = await millrace.account();
  });
  afterAll(() => millrace.stop());

  const ours = async (): Promise<string[]> =>
    (await openCalls(millrace.env['SIM_URL'] ?? ''))
      .filter(({ accountId }) => accountId === account.id)
      .map(({ jobId }) => jobId);
  const jobRow = async (id: string): Promise<Record<string, unknown> | undefined> =>
    (
      await millrace.sql(
        'select status, failures, interruptions, slot is null and place is null as out from jobs where id = $1',
        [id],
      )
    )[0];

  it('ends what ends in time, hands back the rest at no attempt, and takes nothing more', async () => {
    const worker = await spawnWorker(millrace, { env: { DRAIN_SECONDS: '3' } });
    const submit = async (sim: Record<string, unknown>): Promise<string> =>
      (await account.submit(chat('drained', { stream: false, sim }))).id as string;
    const short = await submit({ latency_ms: 1_500 });
    // Streams and pictures are broken off like answers in one piece.
    const endless = await Promise.all([
      submit({ fault: 'hang', times: 1 }),
      account.submit(chat('a stream', { sim: { latency_ms: 30_000 } })).then(({ id }) => id as string),
      account
        .submit({
          model: 'sim/image',
          input: { prompt: 'a mill', size: '64x64', sim: { fault: 'hang', times: 1 } },
        })
        .then(({ id }) => id as string),
    ]);
    await eventually(async () => (await ours()).length === 4, {
      what: 'four calls are open',
      withinMs: 20_000,
    });

    const end = drained(worker);
    await eventually(() => worker.log.some((line) => line.includes('SIGTERM: stopping')), {
      what: 'the drain has begun',
      withinMs: 10_000,
    });
    const late = await submit({});
    const { code, ms } = await end;
    expect(code).toBe(0);
    expect(ms).toBeLessThan(EXIT_MS);
    expect(await ours()).toEqual([]);
    await eventually(() => worker.log.at(-1)?.includes('"stopped"') ?? false, {
      what: 'its log has an end',
      withinMs: 5_000,
    });
    const told = worker.log.find((line) => line.includes('"the worker has stopped"'));
    expect(JSON.parse(told ?? '{}')).toMatchObject({ level: 'info', ended: 1, handed_back: 3 });

    const rows = Object.fromEntries(
      await Promise.all([short, ...endless, late].map(async (id) => [id, await jobRow(id)] as const)),
    );
    expect(rows[short]).toMatchObject({ status: 'succeeded', failures: 0, interruptions: 0 });
    for (const id of endless)
      expect(rows[id]).toMatchObject({ status: 'queued', failures: 0, interruptions: 1 });
    expect(rows[late]).toMatchObject({ status: 'queued', interruptions: 0 });
    expect(await millrace.sql('select id from workers')).toEqual([]);
    // Each is rung again, and nothing else is left in the queue: others need not wait for a sweep or a lock to find them.
    const { queue } = millrace.platform.ctx;
    expect([await queue.depth('chat'), await queue.depth('image')]).toEqual([3, 1]);

    const began = performance.now();
    const other = await millrace.addWorker();
    for (const id of [endless[0], endless[2], late])
      expect(await account.ended(id as string)).toMatchObject({ status: 'succeeded' });
    // At once: a lease would be 60 s.
    expect(performance.now() - began).toBeLessThan(30_000);
    expect((await account.get(`/v1/jobs/${late}`)).body.attempt).toBe(1);
    await account.post(`/v1/jobs/${endless[1]}/cancel`);
    expect(await account.ended(endless[1])).toMatchObject({ status: 'canceled', attempt: 2 });
    await other.stop();
    expect((await millrace.admin.get('/v1/admin/invariants')).body).toMatchObject({ ok: true });
  });

  it('that is idle ends at once, and the next job is not left to it', async () => {
    const [idle, other] = await Promise.all([spawnWorker(millrace), millrace.addWorker()]);
    const end = drained(idle);
    const job = await account.run(chat());
    expect(job).toMatchObject({ status: 'succeeded', attempt: 1 });
    const { code, ms } = await end;
    expect(code).toBe(0);
    expect(ms).toBeLessThan(10_000);
    await other.stop();
  });
});

describe('an API', () => {
  let millrace: TestPlatform;
  let account: TestAccount;
  beforeAll(async () => {
    millrace = await startPlatform({ worker: false });
    account = await millrace.account();
  });
  afterAll(() => millrace.stop());

  it('answers those who wait with the job as it is, ends its streams, and exits', async () => {
    const api = await spawnApi(millrace);
    const client = openClient(api.url, account.key);
    const { id } = await client.submit(chat());
    const waits = [client.post('/v1/jobs?wait=60', chat()), client.get(`/v1/jobs/${id}?wait=60`)];
    const heard = new Set<string>();
    const follow = (path: string) => client.events(path, { until: () => (heard.add(path), false) });
    const streams = [follow(`/v1/jobs/${id}/events`), follow('/v1/events')];
    await eventually(
      async () => heard.size === 2 && (await millrace.sql('select id from jobs')).length === 2,
      { what: 'both streams are heard, and both jobs waited for', withinMs: 20_000 },
    );
    const { code, ms } = await drained(api);
    expect(code).toBe(0);
    expect(ms).toBeLessThan(10_000);
    for (const { status, body } of await Promise.all(waits)) {
      expect([200, 202]).toContain(status);
      expect(body).toMatchObject({ object: 'job', status: 'queued' });
    }
    for (const events of await Promise.all(streams))
      expect(events.map(({ event }) => event)).toContain('job.queued');
    // Whatever was promised is kept by those who live.
    const worker = await millrace.addWorker();
    expect(await account.ended(id as string)).toMatchObject({ status: 'succeeded' });
    await worker.stop();
  });
});

describe('all in one', () => {
  let folder: Folder;
  beforeAll(async () => {
    folder = await dataFolder();
  });
  afterAll(() => folder.remove());

  it('lets a running job end before its embedded services do', async () => {
    const start = async () => {
      const command = runNode(['src/main.ts'], { env: { MILLRACE_DATA_DIR: folder.dataDir, PORT: '0' } });
      const [, url = ''] = await command.said(/Millrace is at (\S+),/);
      const file = await readFile(join(folder.dataDir, 'credentials.json'), 'utf8');
      return { command, client: openClient(url, (JSON.parse(file) as { api_key: string }).api_key) };
    };
    const first = await start();
    const simUrl = /"sim_url":"([^"]+)"/.exec(
      await readFile(join(folder.dataDir, 'embedded/sim.out'), 'utf8'),
    )?.[1];
    const { id } = await first.client.submit(chat('three seconds', { sim: { latency_ms: 3_000 } }));
    await eventually(async () => (await openCalls(simUrl ?? '')).length === 1, {
      what: 'the job runs',
      withinMs: 20_000,
    });
    first.command.signal('SIGTERM');
    await first.command.said(/SIGTERM: stopping/);
    expect(await first.command.ended).toBe(0);
    expect([(await folder.postmaster())?.pid ?? null, folder.sim()]).toEqual([null, null]);

    const second = await start();
    const job: Json = (await second.client.get(`/v1/jobs/${id}`)).body;
    second.command.signal('SIGTERM');
    expect(job).toMatchObject({ status: 'succeeded', attempt: 1 });
    expect(job.output.text).toContain('three seconds');
    expect(await second.command.ended).toBe(0);
  });
});
