// The demo as a process, with a platform behind a proxy that lies about one thing: it must end with code 1 and name it.
// The proxy that passes everything on is the control.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Command, runNode } from '../support/command.ts';
import { startPlatform, type TestPlatform } from '../support/platform.ts';
import { type Lie, openProxy } from './proxy.ts';

vi.setConfig({ testTimeout: 90_000 });

const SENTENCE = 'Nobody grinds twice with the same water.';
const ACCOUNT = /^GET \/v1\/account$/;
const JOB = /^GET \/v1\/jobs\/job_\w+$/;
const SOCKET = /^GET \/v1\/ws\?/;
const CONTENT = /^GET \/v1\/artifacts\/art_\w+\/content$/;

/** A demo's end. */
interface End {
  command: Command;
  code: number | string;
  told: number;
  folder: string;
}

describe('the demo', () => {
  let millrace: TestPlatform;
  let folder: string;
  let runs = 0;
  beforeAll(async () => {
    millrace = await startPlatform({ env: { EGRESS_ALLOW: '127.0.0.1' } });
    folder = await mkdtemp(join(tmpdir(), 'millrace-demo-'));
  });
  afterAll(async () => {
    await millrace.stop();
    await rm(folder, { recursive: true, force: true });
  });

  async function demo(lie: Lie | null): Promise<End> {
    const proxy = await openProxy(millrace.url, lie);
    const credentials = join(folder, `credentials-${++runs}.json`);
    const out = join(folder, `out-${runs}`);
    const kept = JSON.parse(await readFile(join(millrace.dataDir, 'credentials.json'), 'utf8')) as object;
    await writeFile(credentials, JSON.stringify({ ...kept, base_url: proxy.url }));
    const command = runNode([
      'demo/main.ts',
      '--attach',
      credentials,
      '--out',
      out,
      '--say',
      SENTENCE,
      '--simulated',
    ]);
    const code = await command.ended;
    await proxy.close();
    return { command, code, told: proxy.told(), folder: out };
  }

  it.concurrent('passes through a proxy that does not lie', async () => {
    const { command, code, folder } = await demo(null);
    expect(command.err).toEqual([]);
    expect(code).toBe(0);
    expect(await readFile(join(folder, 'transcript.txt'), 'utf8')).toBe(SENTENCE);
  });

  it.concurrent('hears every word of a channel that is cut again and again', async () => {
    const { command, code, told } = await demo({ about: SOCKET, cutAfter: 1_500 });
    expect(told).toBeGreaterThan(3);
    expect(command.err).toEqual([]);
    expect(code).toBe(0);
  });

  it.concurrent.each<[string, Lie, RegExp]>([
    [
      'a wrong transcript',
      {
        about: JOB,
        tell: (job) =>
          job.model === 'sim/stt'
            ? { ...job, output: { ...job.output, text: SENTENCE.replace('twice', 'thrice') } }
            : job,
      },
      /^demo: transcript: "Nobody grinds thrice .* was heard/,
    ],
    ['a missing artifact', { about: CONTENT, tell: () => null }, /^demo: image: the artifact is missing$/],
    [
      'a balance off by one',
      {
        about: ACCOUNT,
        tell: (account) => {
          account.balance.available.credits += 1;
          return account;
        },
      },
      /^demo: balance: \d+ credits are left, but 2000000 less \d+ are \d+$/,
    ],
    [
      'a cost off by one',
      {
        about: JOB,
        tell: (job) => ({ ...job, cost: job.cost && { ...job.cost, credits: job.cost.credits - 1 } }),
      },
      /^demo: balance: /,
    ],
    [
      'a breach that the audit finds',
      {
        about: /^GET \/v1\/admin\/invariants$/,
        tell: (report) => ({
          ...report,
          ok: false,
          breaches: [{ invariant: 'I1', subject: 'acc_1', what: 'off by 1' }],
        }),
      },
      /^demo: audit: I1 acc_1: off by 1$/,
    ],
    [
      'a refusal',
      { about: /^POST \/v1\/jobs$/, tell: () => null },
      /^demo: refused with 404: There is no such thing\. \(not_found\)$/,
    ],
  ])('fails on %s, and names it', async (_what, lie, line) => {
    const { command, code, told } = await demo(lie);
    expect(told).toBeGreaterThan(0);
    expect(code).toBe(1);
    expect(command.err).toContainEqual(expect.stringMatching(line));
    expect(command.out).not.toContainEqual(expect.stringMatching(/^All held/));
  });
});
