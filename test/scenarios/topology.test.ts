// Several machines: two APIs and two workers that share PostgreSQL, Redis and an S3 server, and no folder. Any API serves any
// artifact; any of them is killed while 500 jobs run, and nothing is lost.
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { request } from 'undici';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { makeAccount, type TestAccount } from '../support/accounts.ts';
import { chat, type Client, openClient } from '../support/client.ts';
import { runNode } from '../support/command.ts';
import { eventually } from '../support/eventually.ts';
import { type Ground, openGround } from '../support/ground.ts';
import { type Load, startLoad } from '../support/load.ts';
import { type Machine, type Machines, startMachines } from '../support/machines.ts';
import { whileCallsAreOpen } from '../support/reruns.ts';
import { type S3Server, startS3Server } from '../support/s3-server.ts';
import { simCalls } from '../support/sim-log.ts';
import { calm, judge } from '../support/verdict.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const JOBS = 500;
const CALL_MS = 200;

function job(n: number): Record<string, unknown> {
  const sim = { latency_ms: CALL_MS };
  if (n % 4 === 0) return { model: 'sim/image', input: { prompt: `mill ${n}`, size: '64x64', sim } };
  if (n % 4 === 1) return { model: 'sim/tts', input: { input: `sack ${n}`, sim } };
  return chat(`grain ${n}`, { stream: n % 4 === 2, max_tokens: 20, sim });
}

let ground: Ground;
let s3: S3Server;
let machines: Machines;
let account: TestAccount;
beforeAll(async () => {
  [ground, s3] = await Promise.all([
    openGround('redis', { env: { LEASE_MS: '2000', SWEEP_MS: '500' } }),
    startS3Server(),
  ]);
  machines = await startMachines(ground.installation, { apis: 2, workers: 2, env: s3.env });
  account = await makeAccount(machines.apis[0]?.url ?? '', machines.admin(0));
});
afterAll(async () => {
  const codes = await machines?.stop();
  await s3?.stop();
  await ground?.stop();
  expect(codes?.every((code) => code === 0)).toBe(true);
});

/** The account, at one of the APIs. */
const at = (api: number): Client => openClient(machines.apis[api]?.url ?? '', account.key);

/** Asks the APIs in turn, as a balancer does that knows nothing of who lives. */
function balanced(): Client {
  const clients = [at(0), at(1)] as const;
  let turn = 0;
  return {
    ...clients[0],
    post: (...args) => (clients[turn++ % 2] as Client).post(...args) as never,
  };
}

it('kills any of them while 500 jobs run, and every accepted job ends once, at its price', async () => {
  const load: Load = startLoad({ clients: Array.from({ length: 8 }, balanced), pauseMs: 100, job });
  const [api0, api1] = machines.apis as [Machine, Machine];
  const [worker0, worker1] = machines.workers as [Machine, Machine];
  for (const victim of [worker0, api0, worker1, api1]) {
    await whileCallsAreOpen(ground.simUrl, 3);
    await victim.replace();
    const before = load.accepted.size;
    await eventually(() => load.accepted.size > before + 20, { what: 'jobs go on', withinMs: 60_000 });
  }
  await eventually(() => load.accepted.size >= JOBS, { what: '500 are accepted', withinMs: 90_000 });
  await load.stop();
  expect(load.repeats).toBeGreaterThan(0);
  await calm(ground.installation, { withinMs: 60_000 });
  const verdict = await judge(ground.installation, load.accepted, await simCalls(ground.simUrl));
  expect(verdict).toMatchObject({
    lost: [],
    misCharged: [],
    unsuccessful: [],
    twins: [],
    doubleCalls: [],
    doubleBilled: [],
  });
  expect(load.twins).toEqual([]);
  expect(machines.errors()).toEqual([]);
});

it('serves every artifact from every API, byte for byte', async () => {
  const artifacts: { id: string; sha256: string }[] = [];
  for (let after = ''; ;) {
    const { body } = await at(0).get(`/v1/artifacts?limit=100${after}`);
    artifacts.push(...body.data);
    if (!body.has_more) break;
    after = `&after=${body.next_after}`;
  }
  expect(artifacts.length).toBeGreaterThanOrEqual(JOBS / 2 - 1);
  for (const api of [0, 1]) {
    for (let from = 0; from < artifacts.length; from += 16)
      await Promise.all(
        artifacts.slice(from, from + 16).map(async ({ id, sha256 }) => {
          const answer = await request(`${machines.apis[api]?.url}/v1/artifacts/${id}/content`, {
            headers: { authorization: `Bearer ${account.key}` },
          });
          const bytes = Buffer.from(await answer.body.arrayBuffer());
          expect(createHash('sha256').update(bytes).digest('hex'), `${id} of API ${api}`).toBe(sha256);
        }),
      );
  }
});

it('takes what was uploaded to one API at the other, by key and by link, and in a worker', async () => {
  const spoken = await at(0).run({ model: 'sim/tts', input: { input: 'water' } });
  const from = `/v1/artifacts/${spoken.output.audio.artifact_id}/content`;
  const made = await at(0).post(`/v1/artifacts/${spoken.output.audio.artifact_id}/links`, {
    expires_in_s: 900,
  });
  const link = new URL(made.body.url as string);
  expect((await fetch(`${machines.apis[1]?.url}${link.pathname}${link.search}`)).status).toBe(200);
  const audio = await (
    await fetch(`${machines.apis[0]?.url}${from}`, { headers: { authorization: `Bearer ${account.key}` } })
  ).blob();
  const form = new FormData();
  form.append('file', audio, 'water.wav');
  const uploaded = await fetch(`${machines.apis[0]?.url}/v1/artifacts`, {
    method: 'POST',
    headers: { authorization: `Bearer ${account.key}` },
    body: form,
  });
  const { id } = (await uploaded.json()) as { id: string };
  const heard = await at(1).run({ model: 'sim/stt', input: { artifact: id } });
  expect(heard).toMatchObject({ status: 'succeeded', output: { text: 'water' } });
});

it('leaves books and bytes that are right, and no artifact in any folder', async () => {
  const audit = runNode(['src/audit.ts', '--json'], { env: machines.env });
  expect(await audit.ended, audit.out.join('\n')).toBe(0);
  expect(JSON.parse(audit.out.join('\n'))).toMatchObject({ ok: true, breaches: [] });
  expect((await machines.files()).filter((name) => name.includes('objects'))).toEqual([]);
});

it('does not take a role that would keep artifacts in a folder of its own', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-test-'));
  const { S3_BUCKET: _, S3_ENDPOINT: __, ...env } = machines.env;
  const stray = runNode(['src/workers/main.ts'], { env: { ...env, MILLRACE_DATA_DIR: folder } });
  expect(await stray.ended).toBe(1);
  expect(stray.err.join('\n')).toMatch(/This database's artifacts are not in .*artifacts\./);
  await rm(folder, { recursive: true });
});
