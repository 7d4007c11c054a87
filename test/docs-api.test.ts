// docs/api.md, pasted into a shell from top to bottom.
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { type MediaVendor, startMediaVendor, VENDOR_KEY } from './support/media-vendor.ts';

const run = promisify(execFile);

/** A block of shell, and the text from there to the next. */
interface Example {
  script: string;
  text: string;
}

const [preamble, ...examples] = readFileSync(join(import.meta.dirname, '../docs/api.md'), 'utf8')
  .split('```sh\n')
  .slice(1)
  .map((part): Example => {
    const [script = '', text = ''] = part.split('```\n');
    return { script, text };
  });

/** CI machines need not have curl; where there is one, the examples must hold with it, too. */
const curls = ['the stand-in', ...(has('curl') ? ['curl'] : [])];

function has(program: string): boolean {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

let millrace: TestPlatform;
let vendor: MediaVendor;
beforeAll(async () => {
  millrace = await startPlatform();
  vendor = await startMediaVendor();
});
afterAll(async () => {
  await millrace.stop();
  await vendor.close();
});

describe.each(curls)('each example of docs/api.md, with %s', (curl) => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-docs-'));
  const stated: Record<string, string> = {};
  beforeAll(() => {
    symlinkSync(millrace.dataDir, join(folder, '.millrace'));
    const standIn = `#!/bin/sh\nexec "${process.execPath}" "${join(import.meta.dirname, 'support/curl.ts')}" "$@"\n`;
    if (curl !== 'curl') writeFileSync(join(folder, 'curl'), standIn, { mode: 0o755 });
    Object.assign(stated, { VENDOR: vendor.url, VENDOR_KEY });
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('answers as the text below it says', async () => {
    Object.assign(stated, await given());
    for (const { script, text } of examples) {
      const { status, body } = await paste(script);
      const [, said] = /^\s*(\d{3}): /.exec(text) ?? [];
      expect(`${status}`, `${script}\n${body}`).toBe(said);
      const json: unknown = body.startsWith('{') ? JSON.parse(body) : {};
      const { object, status: state, data } = json as { object?: string; status?: string; data?: unknown[] };
      if (object === 'job' && status === 200) expect(state, body).toBe('succeeded');
      if (object === 'list') expect(data, body).not.toEqual([]);
      for (const [, name, path] of text.matchAll(/`\$(\w+)` is its `([\w.]+)`/g))
        stated[name as string] = lookUp(json, path as string);
    }
    expect(Object.keys(stated)).toHaveLength(14);
    expect(readFileSync(join(folder, 'mill.png')).subarray(1, 4).toString()).toBe('PNG');
  }, 120_000);

  const sh = async (script: string): Promise<string> => {
    const { PATH = '' } = process.env;
    const env = { ...stated, PATH: `${folder}:${dirname(process.execPath)}:${PATH}` };
    return (await run('sh', ['-ec', script], { cwd: folder, env })).stdout;
  };

  /** What the first block finds in the data folder. */
  async function given(): Promise<Record<string, string>> {
    const [URL = '', KEY = '', ADMIN = ''] = (
      await sh(`${preamble?.script}echo "$URL"; echo "$KEY"; echo "$ADMIN"`)
    ).split('\n');
    return { URL, KEY, ADMIN };
  }

  /** @returns the status and the body of its last answer */
  async function paste(script: string): Promise<{ status: number; body: string }> {
    const withStatus = `curl() { command curl "$@" -w '\\n%{http_code}\\n\\n'; }\n`;
    const stdout = await sh(`${withStatus}${script}`);
    const last = stdout.trimEnd().split('\n\n').at(-1) ?? '';
    const end = last.lastIndexOf('\n');
    return { status: Number(last.slice(end + 1)), body: last.slice(0, Math.max(0, end)) };
  }
});

it('has an example of every kind, of a batch, an upload, a stream, and of what an operator does', () => {
  const all = examples.map(({ script }) => script).join('\n');
  for (const needed of [
    ...['chat', 'image', 'tts', 'stt'].map((kind) => `"model":"sim/${kind}"`),
    '/v1/jobs/batch',
    '-F ',
    '/events"',
    '/webhook-endpoints"',
    ...['painter', 'speaker', 'listener'].map((model) => `"model":"vendor/${model}"`),
    ...['accounts', 'grants', 'models', 'prices', 'routes'].map((what) => `/${what}`),
  ])
    expect(all).toContain(needed);
});

function lookUp(value: unknown, path: string): string {
  const found = path.split('.').reduce((part, name) => (part as Record<string, unknown>)?.[name], value);
  if (typeof found !== 'string') throw new Error(`no ${path} in ${JSON.stringify(value)}`);
  return found;
}
