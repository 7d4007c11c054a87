// What a terminal shows while the demo runs.
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { openScreen, type Screen } from '../../demo/screen.ts';

const COLUMNS = 80;
let shown: string;
let screen: Screen;
beforeEach(() => {
  vi.stubEnv('TERM', 'xterm');
  shown = '';
  const write = (text: string): void => void (shown += text);
  screen = openScreen({ isTTY: true, columns: COLUMNS, write }, 6);
});
afterEach(() => {
  screen.close();
  vi.unstubAllEnvs();
});

/** What stands in the last line. */
const bar = (): string => shown.split('\u001B[2K').at(-1)?.split('\n').at(-1) ?? '';

it('keeps the seconds in sight, however long the note is', () => {
  screen.step('start');
  screen.note('PostgreSQL 18 started on port 29570 (pid 1886), with everything that it needs to run');
  expect(bar()).toMatch(/^\[\.{20}\] 1\/6 start \d+\.\d s PostgreSQL 18 started on .*\.\.\.$/);
  expect(bar().length).toBe(COLUMNS - 1);
});

it('forgets a note once a line has told how it went', () => {
  screen.step('start');
  screen.note('the API listens');
  expect(bar()).toContain('the API listens');
  screen.line('Millrace is at http://127.0.0.1:8080');
  expect(bar()).toMatch(/^\[\.{20}\] 1\/6 start \d+\.\d s$/);
  screen.step('chat');
  expect(bar()).toMatch(/^\[#{3}\.{17}\] 2\/6 chat \d+\.\d s$/);
});
