// The client against a live platform, through a proxy that cuts its connections.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClient, MillraceError, TERMINAL } from '../../packages/client/src/index.ts';
import { startPlatform, type TestPlatform } from '../support/platform.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';

let platform: TestPlatform;
let proxy: TcpProxy;
let key: string;
beforeAll(async () => {
  platform = await startPlatform({ backend: 'postgres' });
  proxy = await startTcpProxy(platform.url);
  ({ key } = await platform.account());
});
afterAll(async () => {
  await proxy.close();
  await platform.stop();
});

const chat = (words: string, sim?: object) => ({
  model: 'sim/chat',
  input: { messages: [{ role: 'user', content: words }], ...(sim && { sim }) },
});

describe('submit and wait', () => {
  it('brings the job once it has ended', async () => {
    const client = createClient({ baseUrl: platform.url, apiKey: key });
    const job = await client.submit(chat('Who minds the sluice?', { latency_ms: 200 }));
    expect(job.status).toMatch(/queued|running/);
    const ended = await client.wait(job.id);
    expect(ended).toMatchObject({ id: job.id, status: 'succeeded' });
    const { data } = await client.api.GET('/v1/models');
    expect(data?.data.map((model) => model.id)).toContain('sim/chat');
  });

  it('is one job, however often its answer is lost', async () => {
    let calls = 0;
    const client = createClient({
      baseUrl: platform.url,
      apiKey: key,
      async fetch(request) {
        const response = await fetch(request);
        if (request.method !== 'POST' || ++calls > 2) return response;
        await response.body?.cancel();
        throw new TypeError('the answer was lost');
      },
    });
    const job = await client.submit({ ...chat('Once.'), metadata: { is: 'lost twice' } });
    expect(calls).toBe(3);
    const { data } = await client.api.GET('/v1/jobs', {
      params: { query: { 'metadata[is]': 'lost twice' } as never },
    });
    expect(data?.data.map(({ id }) => id)).toEqual([job.id]);
  });

  it('says what the platform says, and does not ask again where that is no use', async () => {
    const client = createClient({ baseUrl: platform.url, apiKey: key });
    const refused = await client.submit({ model: 'sim/chta', input: {} }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(MillraceError);
    expect(refused).toMatchObject({ status: 404, code: 'model_not_found', retryable: false });
    expect((refused as MillraceError).requestId).toMatch(/^req_/);
  });
});

it('tries again what may be tried again, as long as it was asked to wait', async () => {
  const asked: number[] = [];
  const busy = createServer((request, response) => {
    request.resume();
    asked.push(performance.now());
    const over = asked.length === 3;
    response.writeHead(over ? 200 : 429, {
      'content-type': 'application/json',
      'x-should-retry': 'true',
      'retry-after-ms': '300',
    });
    response.end(over ? '{"id":"job_1"}' : '{"code":"rate_limited","retryable":true}');
  });
  await once(busy.listen(0, '127.0.0.1'), 'listening');
  const client = createClient({
    baseUrl: `http://127.0.0.1:${(busy.address() as AddressInfo).port}`,
    apiKey: 'k',
  });
  try {
    expect(await client.submit(chat('Busy?'))).toEqual({ id: 'job_1' });
    const gaps = asked.slice(1).map((at, i) => at - (asked[i] ?? 0));
    for (const gap of gaps) expect(gap).toBeGreaterThan(290);
  } finally {
    busy.close();
  }
});

describe('stream', () => {
  it('tells every word once, whatever connections break', async () => {
    const client = createClient({ baseUrl: proxy.through(platform.url), apiKey: key, tries: 50 });
    const job = await client.submit(
      chat('Tell me a long story of the mill and its water.', { latency_ms: 1500 }),
    );
    const cutter = setInterval(() => proxy.cutAll(), 150);
    const offsets: number[] = [];
    let last = '';
    try {
      for await (const { type, data } of client.stream(job.id)) {
        if (type === 'job.delta') offsets.push(data['offset'] as number);
        last = type;
      }
    } finally {
      clearInterval(cutter);
    }
    expect(TERMINAL.has(last)).toBe(true);
    expect(offsets).toEqual(offsets.map((_, i) => i));
    expect(offsets.length).toBeGreaterThan(1);
  });

  it('ends at the signal', async () => {
    const client = createClient({ baseUrl: platform.url, apiKey: key });
    const job = await client.submit(chat('Never mind.', { latency_ms: 3_000 }));
    const heard: string[] = [];
    const reading = (async () => {
      for await (const { type } of client.stream(job.id, { signal: AbortSignal.timeout(500) }))
        heard.push(type);
    })();
    await expect(reading).rejects.toMatchObject({ name: 'TimeoutError' });
    expect(heard).toContain('job.queued');
  });
});
