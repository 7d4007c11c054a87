import { expect, it } from 'vitest';
import { banner, greeting } from '../src/welcome.ts';

const known = { url: 'http://127.0.0.1:8080', path: '/x/credentials.json', apiKey: 'mr_live_abc' };

it('has the key for a terminal, in a command to paste, and for nothing else', () => {
  expect(banner(known)).toContain(
    `'http://127.0.0.1:8080/v1/jobs?wait=30' -H 'authorization: Bearer mr_live_abc' \\\n`,
  );
  expect(greeting(known)).toBe(
    'Millrace is at http://127.0.0.1:8080, its API reference at http://127.0.0.1:8080/reference. Keys are in /x/credentials.json.',
  );
});

it('says where keys are not, in a data folder that was not the first', () => {
  const none = { ...known, apiKey: null };
  expect(banner(none)).toBe(`${greeting(none)}\n`);
  expect(greeting(none)).toContain('not in /x/credentials.json');
});
