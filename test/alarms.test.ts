import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { openAlarms } from '../src/alarms.ts';

const lines: [string, string, object][] = [];
const log = {
  warn: (context: object, what: string) => void lines.push(['warn', what, context]),
  error: (context: object, what: string) => void lines.push(['error', what, context]),
};
beforeEach(() => {
  lines.length = 0;
  vi.useFakeTimers();
});
afterEach(() => vi.useRealTimers());

const open = () => openAlarms(log as never);
const about = (route: string) => ({ about: { route, code: 'x' } });

it('tells trouble at once, then once a minute how often it came, and each by itself', () => {
  const alarms = open();
  alarms.raise('warn', 'attempts fail', { ...about('a'), example: { job: '1' } });
  alarms.raise('error', 'attempts fail', about('b'));
  for (const job of ['2', '3']) alarms.raise('warn', 'attempts fail', { ...about('a'), example: { job } });
  expect(lines).toEqual([
    ['warn', 'attempts fail', { route: 'a', code: 'x', job: '1', count: 1 }],
    ['error', 'attempts fail', { route: 'b', code: 'x', count: 1 }],
  ]);
  lines.length = 0;
  vi.advanceTimersByTime(60_000);
  expect(lines).toEqual([['warn', 'attempts fail', { route: 'a', code: 'x', job: '3', count: 2 }]]);
  vi.advanceTimersByTime(600_000);
  expect(lines).toHaveLength(1);
  alarms.raise('warn', 'attempts fail', about('a'));
  expect(lines[1]).toEqual(['warn', 'attempts fail', { route: 'a', code: 'x', count: 1 }]);
});

it('tells what is left as it is closed, and nothing after', () => {
  const alarms = open();
  for (let i = 0; i < 3; i++) alarms.raise('warn', 'attempts fail', about('a'));
  alarms.close();
  vi.advanceTimersByTime(600_000);
  expect(lines.map(([, , context]) => (context as { count: number }).count)).toEqual([1, 2]);
});
