// The audit, held to its word: a row is broken, and the audit must say which, and what it breaks.
import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { audit } from '../../src/flow/audit.ts';
import { startPlatform, type TestPlatform } from '../support/platform.ts';
import { type Books, fillBooks } from './books.ts';
import { BREAKS } from './breaks.ts';
import { broken } from './broken.ts';

let millrace: TestPlatform;
let books: Books;
beforeAll(async () => {
  millrace = await startPlatform({ env: { SWEEP_MS: '100', DRAIN_SECONDS: '0' } });
  books = await fillBooks(millrace);
});
afterAll(() => millrace.stop());

const check = () => audit(millrace.platform.ctx);

interface Found {
  code: number;
  text: string;
}

/** `npm run audit`, as an operator runs it. */
function command(...args: string[]): Promise<Found> {
  const main = fileURLToPath(new URL('../../src/audit.ts', import.meta.url));
  return new Promise((resolve) => {
    const env = { PATH: process.env['PATH'] ?? '', ...millrace.env };
    execFile(process.execPath, [main, ...args], { env }, (error, stdout) =>
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, text: stdout }),
    );
  });
}

const CLEAN = { ok: true, breaches: [] };
describe('clean books', () => {
  it('are found clean, by the API and by the command', async () => {
    const report = await check();
    expect(report).toMatchObject(CLEAN);
    expect(report.invariants.map(({ id }) => id).toSorted()).toEqual(['I1', 'I10', 'I2', 'I4', 'I5']);
    for (const { rows } of report.invariants) expect(rows).toBeGreaterThan(0);
    // From the checkpoints that audit left.
    const { body } = await millrace.admin.get('/v1/admin/invariants');
    expect(body).toMatchObject({
      ...CLEAN,
      covered: { complete: true, accounts: report.covered.accounts, resumed: report.covered.accounts },
    });
    expect(body.rows).toBeLessThan(report.rows);
    const { code, text } = await command();
    expect(code).toBe(0);
    expect(text).toMatch(/^I1 +ok +\d+ rows/m);
    expect(text).toContain('All invariants hold');
    expect(text).toMatch(/^I3, I6 to I9 .* docs\/invariants\.md\.$/m);
  });
});

describe.each(Object.entries(BREAKS))('%s', (invariant, breaks) => {
  it.each(breaks.map((kind) => [kind.what, kind] as const))(
    'is named for %s',
    async (_, { tables, sql, subject }) => {
      const expected = await subject(books);
      const report = await broken(millrace, { tables, sql: sql(books) }, check);
      expect(report.ok).toBe(false);
      expect(report.breaches.filter((breach) => breach.invariant === invariant)).toContainEqual({
        invariant,
        account_id: expect.stringMatching(/^acc_/),
        subject: expected,
        what: expect.any(String),
      });
      expect(report.invariants.find(({ id }) => id === invariant)?.breaches).toBeGreaterThan(0);
      // Put back, all is well again: it was that row.
      expect(await check()).toMatchObject(CLEAN);
    },
  );

  it('makes the command end with 1 and print it', async () => {
    const { tables, sql, subject } = breaks[0]!;
    const expected = await subject(books);
    const found = await broken(millrace, { tables, sql: sql(books) }, command);
    expect(found.code).toBe(1);
    expect(found.text).toMatch(new RegExp(`^${invariant} acc_\\w+ ${expected}: `, 'm'));
    expect(found.text).toMatch(new RegExp(`^${invariant} +\\d+ BREACHES`, 'm'));
    expect(found.text).toContain('INVARIANTS ARE BROKEN');
  });
});

describe('the bytes of an artifact', () => {
  it.each<[string, (bytes: Buffer) => Buffer | null]>([
    [
      'one bit of them changed',
      (bytes) => Buffer.concat([bytes.subarray(0, -1), Buffer.from([bytes.at(-1)! ^ 1])]),
    ],
    ['some of them are missing', (bytes) => bytes.subarray(0, bytes.length >> 1)],
    ['some were added', (bytes) => Buffer.concat([bytes, bytes])],
    ['all are gone', () => null],
  ])('are missed when %s', async (_, spoil) => {
    const bytes = await readFile(books.artifact.path);
    const spoiled = spoil(bytes);
    if (spoiled) await writeFile(books.artifact.path, spoiled);
    else await rm(books.artifact.path);
    try {
      expect((await check()).breaches).toEqual([
        {
          invariant: 'I10',
          account_id: books.account.id,
          subject: books.artifact.id,
          what: expect.any(String),
        },
      ]);
    } finally {
      await writeFile(books.artifact.path, bytes);
    }
    expect(await check()).toMatchObject(CLEAN);
  });

  it('are reported as JSON too', async () => {
    const bytes = await readFile(books.artifact.path);
    await rm(books.artifact.path);
    const { code, text } = await command('--json');
    await writeFile(books.artifact.path, bytes);
    expect(code).toBe(1);
    expect(JSON.parse(text)).toMatchObject({
      ok: false,
      breaches: [{ invariant: 'I10', subject: books.artifact.id }],
    });
  });
});
