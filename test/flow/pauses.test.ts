import { describe, expect, it } from 'vitest';
import { Pauses } from '../../src/flow/pauses.ts';

const HOUR = 3_600_000;

async function took(wait: Promise<void>): Promise<number> {
  const at = performance.now();
  await wait;
  return performance.now() - at;
}

describe('a pause', () => {
  const open = () => {
    const pauses = new Pauses();
    const controller = new AbortController();
    const pause = pauses.open('job_1');
    return { pauses, pause, controller, wait: (ms: number) => pause.wait(ms, controller.signal) };
  };

  it('lasts as long as was said, where nobody calls', async () => {
    const { pauses, wait } = open();
    const waiting = took(wait(60));
    pauses.end('job_2');
    expect(await waiting).toBeGreaterThanOrEqual(59);
  });

  it('ends at a call, and at one that came before it', async () => {
    const { pauses, wait } = open();
    pauses.end('job_1');
    await wait(HOUR);
    const waiting = wait(HOUR);
    pauses.end('job_1');
    await waiting;
  });

  it('is ended by calls no more often than four times a second', async () => {
    const { pauses, wait } = open();
    const calling = setInterval(() => pauses.end('job_1'), 1);
    const at = performance.now();
    for (let i = 0; i < 4; i++) await wait(HOUR);
    clearInterval(calling);
    expect(performance.now() - at).toBeGreaterThanOrEqual(745);
  });

  it('ends with its signal, and does not begin after it', async () => {
    const { controller, wait } = open();
    const waiting = wait(HOUR);
    controller.abort();
    await waiting;
    await wait(HOUR);
  });

  it('of an attempt that is over hears no more, and its end leaves the next one’s be', async () => {
    const { pauses, pause, controller } = open();
    const next = pauses.open('job_1');
    pause.close();
    const waiting = next.wait(HOUR, controller.signal);
    pauses.end('job_1');
    await waiting;
    next.close();
    pauses.end('job_1');
    expect(await took(next.wait(300, controller.signal))).toBeGreaterThanOrEqual(290);
  });
});
