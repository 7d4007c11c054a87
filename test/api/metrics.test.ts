// What Prometheus is told of jobs, attempts and requests: each counted once, by what came of it.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { request } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chat, openClient } from '../support/client.ts';
import { sample } from '../support/metrics.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { spawnWorker } from '../support/spawn.ts';

let millrace: TestPlatform;
let account: TestAccount;
beforeAll(async () => {
  millrace = await startPlatform();
  account = await millrace.account();
});
afterAll(() => millrace.stop());

const now = (series: string) => sample(millrace.url, series);
/** By how much each series grows while something is done. */
async function growth(series: string[], work: () => Promise<unknown>): Promise<number[]> {
  const before = await Promise.all(series.map(now));
  await work();
  const after = await Promise.all(series.map(now));
  return after.map((value, i) => value - (Number.isNaN(before[i]) ? 0 : (before[i] as number)));
}

describe('jobs that end', () => {
  it('begin at nought, and are counted by kind and status, whoever ended them', async () => {
    expect(await now('millrace_jobs_ended_total{kind="stt",status="expired"}')).toBe(0);
    const ended = (status: string) => `millrace_jobs_ended_total{kind="chat",status="${status}"}`;
    const states = ['succeeded', 'failed', 'canceled', 'expired'].map(ended);
    const idle = await millrace.account({ overrides: { slots: 0 } });
    const grown = await growth(states, async () => {
      await account.run(chat());
      await account.run(chat('x', { sim: { fault: 'refusal' } }));
      const waiting = await idle.submit(chat());
      await idle.post(`/v1/jobs/${waiting.id}/cancel`);
      const running = await account.submit(chat('x', { sim: { fault: 'hang' } }));
      await account.post(`/v1/jobs/${running.id}/cancel`);
      await account.ended(running.id);
      const late = await idle.submit({ ...chat(), expires_in: 1 });
      await idle.ended(late.id);
    });
    expect(grown).toEqual([1, 1, 2, 1]);
  });
});

describe('attempts', () => {
  it('are counted by route, outcome and code, as often as they were made', async () => {
    const of = (outcome: string, code = '') =>
      `millrace_attempts_total{provider="sim",route="rte_sim_chat",outcome="${outcome}",code="${code}"}`;
    const series = [of('succeeded'), of('failed', 'provider_unavailable'), of('failed', 'content_refused')];
    const grown = await growth(series, async () => {
      await account.run(chat('x', { sim: { fault: '500', times: 1 } }));
      await account.run(chat('x', { sim: { fault: 'refusal' } }));
    });
    expect(grown).toEqual([1, 1, 1]);
  });
});

describe('requests', () => {
  it('are counted by method, pattern and status, with how long they took; refusals by code, of a batch each', async () => {
    const of = (route: string, status: number, method = 'GET') =>
      `millrace_requests_total{method="${method}",route="${route}",status="${status}"}`;
    const took = (what: string) =>
      `millrace_request_duration_seconds_${what}{method="GET",route="/v1/jobs/:id"`;
    const series = [
      of('/v1/jobs/:id', 200),
      of('/v1/jobs/:id', 404),
      of('none', 404, 'any'),
      of('/v1/jobs/batch', 200, 'POST'),
      of('/v1/jobs/:id/events', 200),
      `${took('count')}}`,
      `${took('bucket')},le="+Inf"}`,
      'millrace_refusals_total{code="not_found"}',
      'millrace_refusals_total{code="model_not_found"}',
    ];
    const { id } = await account.run(chat());
    const grown = await growth(series, async () => {
      await account.get(`/v1/jobs/${id}`);
      await account.get('/v1/jobs/job_none');
      await account.get('/nowhere');
      const stranger = { ...chat(), model: 'no/such' };
      await account.post('/v1/jobs/batch', { jobs: [stranger, stranger] });
      await account.events(`/v1/jobs/${id}/events`);
    });
    expect(grown).toEqual([1, 1, 1, 1, 1, 2, 2, 1, 2]);
    const seconds = await now(`${took('sum')}}`);
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThan(60);
  });
});

describe('a worker alone', () => {
  it('serves its own, and says in one line a minute how often a route failed', async () => {
    const vendor = createServer((_request, response) => response.writeHead(500).end());
    vendor.listen(0, '127.0.0.1');
    await once(vendor, 'listening');
    const base_url = `http://127.0.0.1:${(vendor.address() as AddressInfo).port}`;
    const apart = await startPlatform({ worker: false });
    const worker = await spawnWorker(apart, { env: { METRICS_PORT: '0' } });
    const url = /metrics at (http\S+)\/metrics/.exec(worker.log.join('\n'))?.[1] ?? '';
    const lines = ['input', 'output'].map((measure) => ({
      name: 'token',
      measure,
      credits_per_million: '1',
    }));
    await apart.admin.send('PUT', '/v1/admin/models/bad/chat', { body: { kind: 'chat' } });
    await apart.admin.post('/v1/admin/prices', { model: 'bad/chat', lines });
    const route = { model: 'bad/chat', provider: 'openai', base_url };
    const { id } = (await apart.admin.post('/v1/admin/routes', route)).body;
    const client = await apart.account();
    const jobs = await Promise.all(
      Array.from({ length: 4 }, () => client.run({ ...chat(), model: 'bad/chat' })),
    );
    expect(jobs.map((job) => job.error.code)).toEqual(jobs.map(() => 'provider_unavailable'));

    const series = `millrace_attempts_total{provider="openai",route="${id}",outcome="failed",code="provider_unavailable"}`;
    expect(await sample(url, series)).toBe(12);
    expect(await sample(url, 'millrace_jobs_ended_total{kind="chat",status="failed"}')).toBe(4);
    expect((await request(`${url}/healthz`)).statusCode).toBe(200);
    expect((await request(`${url}/elsewhere`)).statusCode).toBe(404);
    expect(await openClient(apart.url, null).get('/metrics')).toMatchObject({ status: 200 });
    expect(await worker.drain()).toBe(0);
    const said = worker.log.filter((line) => line.includes('attempts fail')).map((line) => JSON.parse(line));
    const about = {
      level: 'warn',
      route: id,
      code: 'provider_unavailable',
      model: 'bad/chat',
      status: '500',
    };
    // The first at once; the rest within its minute, told as the worker goes.
    expect(said).toMatchObject([
      { ...about, count: 1 },
      { ...about, count: 11 },
    ]);
    vendor.close();
    await apart.stop();
  });
});
