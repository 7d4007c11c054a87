// What is published: built JavaScript that asks of its runtime nothing that a browser has not.
import { execFile } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '../..');
const PACKAGE = join(ROOT, 'packages/client');

it('is built, and is imported by a plain Node', async () => {
  // Below node_modules, where what it needs is found as by whoever installs it, and no TypeScript is run.
  const cache = join(ROOT, 'node_modules/.cache');
  await mkdir(cache, { recursive: true });
  const built = await mkdtemp(join(cache, 'client-'));
  try {
    const tsc = join(PACKAGE, 'node_modules/typescript/bin/tsc');
    await run(process.execPath, [tsc, '-p', join(PACKAGE, 'tsconfig.build.json'), '--outDir', built]);
    const files = globSync('**/*.js', { cwd: built });
    expect(files).toContain('index.js');
    for (const file of files) {
      const text = readFileSync(join(built, file), 'utf8');
      expect(text, file).not.toMatch(
        /from ['"]node:|from ['"]\.[^'"]*\.ts['"]|\bBuffer\b|\bprocess\.|\brequire\(/,
      );
    }
    const script = `import(${JSON.stringify(join(built, 'index.js'))}).then((all) => console.log(Object.keys(all).join()))`;
    const { stdout } = await run(process.execPath, ['-e', script]);
    expect(stdout.trim().split(',').toSorted()).toEqual(
      ['MillraceError', 'SignatureError', 'TERMINAL', 'createClient', 'verify'].toSorted(),
    );
    const { exports } = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8')) as {
      exports: Record<string, { types: string; default: string }>;
    };
    expect(exports['.']).toEqual({ types: './dist/index.d.ts', default: './dist/index.js' });
    expect(globSync('index.d.ts', { cwd: built })).toHaveLength(1);
  } finally {
    await rm(built, { recursive: true, force: true });
  }
});
