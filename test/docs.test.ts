// What the documents say, held to what the code does.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readConfig, VARIABLES } from '../src/config.ts';
import { ERRORS } from '../src/domain/errors.ts';
import { JOB_ERROR_CODES } from '../src/domain/job.ts';
import { isAdmin, operationsOf, readDocument } from './support/document.ts';
import { promptSize } from '../src/domain/prompt.ts';
import { startPlatform } from './support/platform.ts';
import { tableRows } from './support/tables.ts';

const read = (path: string): string => readFileSync(join(import.meta.dirname, '..', path), 'utf8');

describe('docs/configuration.md', () => {
  it('lists every variable, with its default and meaning, and no other', () => {
    const rows = tableRows(read('docs/configuration.md')).slice(1);
    const expected = Object.entries(VARIABLES).map(([name, variable]) => [
      `\`${name}\``,
      variable.default,
      variable.meaning,
    ]);
    expect(rows).toEqual(expected);
  });
});

describe('docs/errors.md', () => {
  const rows = tableRows(read('docs/errors.md'));
  const end = rows.findIndex(([first]) => first === 'code in `job.error`');

  it('lists every code with its status and whether to try again, and no other', () => {
    const listed = rows.slice(1, end).map(([status, code, retry]) => [status, code, retry]);
    const real = Object.entries(ERRORS).map(([code, { status, retryable }]) => [
      String(status),
      `\`${code}\``,
      retryable ? 'yes' : 'no',
    ]);
    expect(listed).toEqual(real);
  });

  it('lists every code that a failed job may have, and no other', () => {
    expect(rows.slice(end + 1).map(([code]) => code)).toEqual(JOB_ERROR_CODES.map((code) => `\`${code}\``));
  });

  it('says something about each', () => {
    for (const row of rows) expect(row.at(-1), row.join()).toMatch(/\w{3}/);
  });
});

describe('docs/pricing.md', () => {
  it('counts a prompt as it is counted', () => {
    const [, messages, bytes, tokens] =
      /`(\[\{.+\}\])` is (\d+) bytes, so (\d+) tokens/.exec(read('docs/pricing.md')) ?? [];
    const { textBytes } = promptSize(`{"messages":${messages}}`);
    expect([Number(bytes), Number(tokens)]).toEqual([textBytes, Math.ceil(textBytes / 4)]);
  });
});

describe('docs/invariants.md', () => {
  it('names tests that there are', () => {
    const named = [...read('docs/invariants.md').matchAll(/`(test\/[^`]+)`/g)].map(
      ([, path]) => path as string,
    );
    expect(named.length).toBeGreaterThan(2);
    for (const path of named) expect(() => read(path)).not.toThrow();
  });
});

describe('docs/operating.md', () => {
  it('names every route whose repeats are safe by a key, and no other, as the document does', async () => {
    const millrace = await startPlatform({ worker: false });
    const operations = operationsOf(await readDocument(millrace.admin)).filter(isAdmin);
    await millrace.stop();
    const keyed = operations.flatMap(({ method, path, parameters }) => {
      const header = parameters.find(({ name }) => name === 'idempotency-key');
      return header ? [{ route: `${method} ${path.replace('{id}', ':id')}`, header }] : [];
    });
    const [, text = ''] = read('docs/operating.md').split('## Repeats that are safe');
    const [named = ''] = text.split('\n| request');
    expect([...named.matchAll(/`(POST [^`]+)`/g)].map(([, route]) => route)).toEqual(
      keyed.map(({ route }) => route),
    );
    for (const { header, route } of keyed) {
      const { description } = header as { description?: string };
      expect(description, route).toMatch(/30 days.*first time.*Idempotent-Replayed/);
    }
  });
});

describe('readConfig', () => {
  it('takes every default when nothing is set', () => {
    expect(readConfig({})).toMatchObject({
      port: 8080,
      host: '127.0.0.1',
      databaseUrl: null,
      redisUrl: null,
      leaseMs: 9_000,
      drainSeconds: 20,
    });
  });

  it.each([
    [{ PORT: 'eighty' }, 'PORT is "eighty"; it must be a whole number from 0 to 65535.'],
    [{ DRAIN_SECONDS: '25' }, 'DRAIN_SECONDS is "25"; it must be a whole number from 0 to 24.'],
    [
      { DATABASE_URL: 'mysql://x' },
      'DATABASE_URL must be a URL that begins with postgres:// or postgresql://.',
    ],
    [{ PUBLIC_URL: 'example' }, 'PUBLIC_URL must be a URL that begins with http:// or https://.'],
  ])('refuses %j in one line that names the remedy', (env, message) => {
    expect(() => readConfig(env)).toThrow(message);
  });
});

describe('README.md', () => {
  it('names only commands that there are', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = [...read('README.md').matchAll(/npm run ([a-z-]+)/g)].map(([, name]) => name as string);
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
  });

  it('links only to files that there are', () => {
    const links = [...read('README.md').matchAll(/\]\(((?!http)[^)]+)\)/g)].map(([, path]) => path as string);
    for (const path of links) expect(() => (path.startsWith('src/flow') ? 0 : read(path))).not.toThrow();
  });
});
