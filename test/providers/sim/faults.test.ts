import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { hello, startSim, until } from '../support.ts';
import { begun, chat, ended, headersOf, json, newJob, rawChat } from './client.ts';

describe('faults', () => {
  it("befall the first calls of a job, by the simulator's own count", async () => {
    const job = newJob();
    const statuses: number[] = [];
    for (let attempt = 1; attempt <= 4; attempt++) {
      statuses.push((await chat({ sim: { fault: '500', times: 2 } }, headersOf(job, attempt))).status);
    }
    expect(statuses).toEqual([500, 500, 200, 200]);
    expect((await chat({ sim: { fault: '500', times: 2 } }, headersOf(newJob()))).status).toBe(500);
    expect((await chat({ sim: { fault: '500', times: 0 } }, headersOf(newJob()))).status).toBe(200);
  });

  it('befall every call without a count', async () => {
    const job = newJob();
    for (let attempt = 1; attempt <= 3; attempt++) {
      const response = await chat({ sim: { fault: '429-retry-after' } }, headersOf(job, attempt));
      expect([response.status, response.headers.get('retry-after')]).toEqual([429, '1']);
    }
    expect((await chat({ sim: { fault: '429' } })).headers.get('retry-after')).toBeNull();
  });

  it('drip gives a byte and then waits', async () => {
    const job = newJob();
    const socket = await rawChat({ sim: { fault: 'drip' } }, job);
    let text = '';
    while (!text.includes('\r\n\r\n{')) text += String((await once(socket, 'data'))[0]);
    expect(text.endsWith('\r\n\r\n{')).toBe(true);
    expect(await begun(job)).toMatchObject({ ended_at: null });
    socket.destroy();
    await ended(job);
  });

  it('cut breaks off in the middle', async () => {
    for (const stream of [true, false]) {
      const job = newJob();
      const response = await chat({ stream, sim: { fault: 'cut' } }, headersOf(job));
      expect(response.status).toBe(200);
      await expect(response.text()).rejects.toThrow();
      expect(await ended(job)).toMatchObject({ outcome: 'fault', billed: false });
    }
  });
});

describe('the process', () => {
  it('ends at once on SIGTERM, with calls open', async () => {
    const other = await startSim();
    expect(await json(fetch(`${other.url}/healthz`))).toEqual({ ok: true });
    const hanging = fetch(`${other.url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ ...hello, sim: { fault: 'hang' } }),
    });
    await until(async () => (await other.calls()).length === 1);
    const failed = expect(hanging).rejects.toThrow('fetch failed');
    expect(await other.stop()).toEqual({ code: 0 });
    await failed;
  });
});
