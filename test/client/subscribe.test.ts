// The client's subscription against a live platform, through a proxy that cuts its connections.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClient, type Heard, TERMINAL } from '../../packages/client/src/index.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { openSocket } from '../support/socket.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';

let platform: TestPlatform;
let proxy: TcpProxy;
let account: TestAccount;
beforeAll(async () => {
  platform = await startPlatform({ backend: 'postgres', env: { SOCKET_HEARTBEAT_MS: '200' } });
  proxy = await startTcpProxy(platform.url);
  account = await platform.account();
});
afterAll(async () => {
  await proxy.close();
  await platform.stop();
});

const words = 'Tell me a long story of the mill and its water.';
const chat = (latency_ms: number) => ({
  model: 'sim/chat',
  input: { messages: [{ role: 'user', content: words }], sim: { latency_ms } },
});

describe('subscribe', () => {
  it('hears every delta and event of a job once, whatever sockets break', async () => {
    const client = createClient({ baseUrl: proxy.through(platform.url), apiKey: account.key, tries: 100 });
    const job = await client.submit(chat(2_000));
    const cutter = setInterval(() => proxy.cutAll(), 200);
    const offsets: number[] = [];
    const events: string[] = [];
    try {
      for await (const heard of client.subscribe({ jobs: [job.id], after: 'start', deltas: true })) {
        if (heard.type === 'delta') offsets.push(heard.offset);
        if (heard.type !== 'event') continue;
        events.push(heard.event.type);
        if (TERMINAL.has(heard.event.type)) break;
      }
    } finally {
      clearInterval(cutter);
    }
    expect(events).toEqual(['job.queued', 'job.succeeded']);
    expect(offsets.length).toBeGreaterThan(5);
    expect(offsets).toEqual(offsets.map((_, i) => i));
    expect(proxy.cuts).toBeGreaterThan(2);
  });

  it('goes on from a number, hears only what it asked for, and ends at the signal', async () => {
    const client = createClient({ baseUrl: platform.url, apiKey: account.key });
    const first = await client.submit(chat(0));
    await client.wait(first.id);
    const { body } = await account.get('/v1/events?limit=100', { accept: 'application/json' });
    const last = (body.data as { sequence: number }[]).at(-1)?.sequence ?? 0;
    const second = await client.submit(chat(0));
    await client.wait(second.id);
    const stop = new AbortController();
    const heard: Heard[] = [];
    const listening = (async () => {
      const asked = { after: last - 1, events: ['job.succeeded'], signal: stop.signal };
      for await (const one of client.subscribe(asked)) if (heard.push(one) === 2) stop.abort();
    })();
    await expect(listening).rejects.toMatchObject({ name: 'AbortError' });
    expect(heard.map((one) => one.type === 'event' && one.event.data['id'])).toEqual([first.id, second.id]);
  });

  it('is told how far it has come past what it does not want to hear of', async () => {
    const socket = await openSocket(platform.url, { key: account.key });
    await socket.ask({ type: 'subscribe', jobs: 'all', after: 'now', events: ['job.failed'] });
    const { cursor } = await socket.until(({ type }) => type === 'caught_up');
    const client = createClient({ baseUrl: platform.url, apiKey: account.key });
    const job = await client.submit(chat(0));
    await client.wait(job.id);
    // Queued and succeeded: neither is said.
    await socket.until((said) => said.type === 'caught_up' && said.cursor >= cursor + 2);
    expect(socket.messages.filter(({ type }) => type === 'event')).toEqual([]);
    await socket.close();
  });

  it('does not come back where it is not wanted', async () => {
    const client = createClient({ baseUrl: platform.url, apiKey: `${account.key.slice(0, -4)}aaaa` });
    const listening = client.subscribe().next();
    await expect(listening).rejects.toMatchObject({ status: 401, code: 'api_key_invalid' });
    const named = createClient({ baseUrl: platform.url, apiKey: account.key });
    const stranger = named.subscribe({ jobs: ['job_01k9s7v3m8e6q0x4t2b5n7r9ca'] }).next();
    await expect(stranger).rejects.toMatchObject({ code: 'not_found' });
  });
});
