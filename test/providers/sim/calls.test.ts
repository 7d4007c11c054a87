import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { until } from '../support.ts';
import { begun, callsOf, chat, ended, headersOf, newJob, openCalls, rawChat, sim, stop } from './client.ts';

describe('the log of calls', () => {
  it('names the caller and says when a call began and ended', async () => {
    const job = newJob();
    await (await chat({ sim: { latency_ms: 50 } }, headersOf(job, 2))).text();
    const call = await ended(job);
    expect(call).toMatchObject({
      job_id: job,
      account_id: 'acc_1',
      attempt: 2,
      kind: 'chat',
      outcome: 'ok',
      billed: true,
    });
    expect(Number(BigInt(call.ended_ns!) - BigInt(call.started_ns)) / 1e6).toBeGreaterThanOrEqual(49);
    expect(call.started_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  });

  it('knows a caller by the idempotency key alone', async () => {
    await (await chat({}, { 'idempotency-key': 'job_with-dash-3' })).text();
    expect(await ended('job_with-dash')).toMatchObject({ attempt: 3, account_id: null });
  });

  it('is newest last and as long as asked', async () => {
    const [first, second] = [newJob(), newJob()];
    await (await chat({}, headersOf(first))).text();
    await (await chat({}, headersOf(second))).text();
    expect((await sim.calls(2)).map((call) => call.job_id)).toEqual([first, second]);
    expect((await fetch(`${sim.url}/calls?limit=10001`)).status).toBe(400);
    expect((await fetch(`${sim.url}/calls?limit=x`)).status).toBe(400);
  });

  it.each(['destroy', 'end', 'reset'] as const)('ends a call with its socket: %s', async (how) => {
    const job = newJob();
    const socket = await rawChat({ sim: { fault: 'hang' } }, job);
    expect(await begun(job)).toMatchObject({ ended_at: null, outcome: null });
    if (how === 'reset') socket.resetAndDestroy();
    else socket[how]();
    expect(await ended(job)).toMatchObject({ outcome: 'gone', billed: false });
  });

  it('ends a stream with its socket while there is more to say', async () => {
    const job = newJob();
    const socket = await rawChat({ stream: true, sim: { latency_ms: 60_000 } }, job);
    await once(socket, 'data');
    socket.destroy();
    expect(await ended(job)).toMatchObject({ outcome: 'gone', billed: false });
  });

  it('never shows the next call of a slot before the end of the one that was cut off for it', async () => {
    const slots = Array.from({ length: 10 }, newJob);
    await Promise.all(
      slots.map(async (slot) => {
        for (let count = 1; count <= 21; count++) {
          const socket = await rawChat({ sim: { fault: 'hang' } }, slot);
          await until(async () => (await callsOf(slot)).length === count);
          socket.destroy();
        }
      }),
    );
    await until(async () => (await openCalls()) === 0);
    for (const slot of slots) {
      const calls = await callsOf(slot);
      expect(calls).toHaveLength(21);
      for (let i = 1; i < calls.length; i++)
        expect(BigInt(calls[i]!.started_ns) >= BigInt(calls[i - 1]!.ended_ns!)).toBe(true);
    }
  });

  it('counts the open calls', async () => {
    const before = await openCalls();
    const socket = await rawChat({ sim: { fault: 'hang' } }, newJob());
    await until(async () => (await openCalls()) === before + 1);
    socket.destroy();
    await until(async () => (await openCalls()) === before);
  });
});

describe('stop', () => {
  it('ends an open call for nothing, before its caller hears of it', async () => {
    const job = newJob();
    const socket = await rawChat({ sim: { latency_ms: 60_000 } }, job);
    await begun(job);
    expect(await stop(job)).toEqual({ stopped: true });
    expect(await ended(job)).toMatchObject({ outcome: 'stopped', billed: false });
    expect(socket.bytesRead).toBe(0);
    expect(await stop(job)).toEqual({ stopped: false });
    await once(socket, 'close');
    expect(socket.bytesRead).toBe(0);
  });

  it('does nothing to a call that is over, another attempt, or a job that nobody knows', async () => {
    const job = newJob();
    await (await chat({}, headersOf(job))).text();
    await ended(job);
    expect(await stop(job)).toEqual({ stopped: false });
    expect(await stop(job, 2)).toEqual({ stopped: false });
    expect(await stop('job_nobody')).toEqual({ stopped: false });
    expect((await callsOf(job))[0]).toMatchObject({ outcome: 'ok', billed: true });
  });
});
