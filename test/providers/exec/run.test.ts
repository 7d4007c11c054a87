// What a program may and may not do while it works for us. Real processes, each of them a small script.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ExecProvider } from '../../../src/providers/exec/index.ts';
import type { Call, CallResult } from '../../../src/providers/provider.ts';
import { alive } from '../../embedded/process.ts';
import { diesWithUs } from '../../support/undertaker.ts';
import { callOf, until } from '../support.ts';
import { engineRoute, openWorkshop, type Workshop } from './scripts.ts';

let workshop: Workshop;
let provider: ExecProvider;
beforeEach(() => {
  workshop = openWorkshop();
});
afterEach(async () => {
  await provider.close();
  workshop.remove();
});

const MB = 1 << 20;
const PROMPT = 'The secret of the mill is seven sluices';
const speech = (rest: Partial<Call> = {}): Call => callOf('tts', { input: PROMPT }, rest);
const speak = (call = speech()): Promise<CallResult> => provider.call(engineRoute('flite'), call);
const failureOf = (result: CallResult) => {
  if (result.type !== 'failed') throw new Error(`it ${result.type}`);
  return result;
};
/** Writes its own pid, that of a child that hangs as well, and hangs, deaf to SIGTERM. */
const HANG = `trap '' TERM; sleep 600 & echo $$ $! > $here/pids; wait; sleep 600`;
const pidsOf = async () => (await workshop.left('pids')).trim().split(' ').map(Number);
const gone = (pids: number[]) => until(async () => !pids.some((pid) => running(pid)));
const running = (pid: number): boolean => alive(pid);
const rooms = () => readdirSync(workshop.roomsDir);

describe('a program that runs', () => {
  it('gets the text in a file, and nothing of it in its arguments', async () => {
    workshop.script(
      'flite',
      `printf '%s\\n' "$@" > $here/args; cp "$4" $here/text; ls -ld . | cut -c1-10 > $here/mode; cp $here/tone.wav "$6"`,
    );
    provider = workshop.provider();
    const input = '-voice $(touch /tmp/never); `id`\n--help "quoted" é';
    const result = await speak(callOf('tts', { input: `${input}\n` }));
    expect(result).toMatchObject({
      type: 'succeeded',
      output: { kind: 'tts', contentType: 'audio/wav', durationMs: 500, sampleRate: 16_000 },
      usage: null,
    });
    expect(await workshop.left('text')).toBe(`${input}\n`);
    const args = (await workshop.left('args')).trim().split('\n');
    expect(args).toHaveLength(6);
    expect([args[0], args[1], args[2], args[4]]).toEqual(['-voice', 'slt', '-f', '-o']);
    expect(await workshop.left('mode')).toBe('drwx------\n');
    expect(rooms()).toEqual([]);
  });

  it('inherits nothing of our environment', async () => {
    process.env.MILLRACE_TEST_SECRET = 'seven sluices';
    workshop.script('flite', `env > $here/env; cp $here/tone.wav "$6"`);
    provider = workshop.provider();
    expect((await speak()).type).toBe('succeeded');
    delete process.env.MILLRACE_TEST_SECRET;
    const names = (await workshop.left('env'))
      .trim()
      .split('\n')
      .map((line) => line.split('=')[0]);
    // The last four are the shell's own.
    const known = new Set(['PATH', 'HOME', 'TMPDIR', 'LANG', 'TZ', 'PWD', 'OLDPWD', '_', 'SHLVL']);
    expect(names.filter((name) => !known.has(name ?? ''))).toEqual([]);
    expect(names).toContain('TMPDIR');
  });

  it('steps back behind the platform', async () => {
    const nice = `cut -d' ' -f19 /proc/$$/stat`;
    workshop.script('flite', `until [ "$(${nice})" = 10 ]; do sleep 0.02; done; cp $here/tone.wav "$6"`);
    provider = workshop.provider();
    expect((await speak()).type).toBe('succeeded');
  });

  it('waits for a CPU, and leaves the line when it is stopped', async () => {
    workshop.script('flite', `echo run >> $here/runs; echo $$ $$ > $here/pids; exec sleep 600`);
    provider = workshop.provider({ cpus: 1 });
    const [first, second] = [speech(), speech()];
    const running = speak(first);
    await workshop.left('runs');
    const waiting = speak(second);
    expect(await provider.stop?.(engineRoute('flite'), { ...second, remoteId: null })).toBe(true);
    expect(await waiting).toMatchObject({ type: 'stopped', evidence: { sent: false } });
    expect(await provider.stop?.(engineRoute('flite'), { ...first, remoteId: null })).toBe(true);
    expect(await running).toMatchObject({ type: 'stopped', evidence: { sent: true } });
    expect(await workshop.left('runs')).toBe('run\n');
  });

  it('never meets more of its kind than there are CPUs', async () => {
    workshop.script(
      'flite',
      `mkdir $here/busy || echo met >> $here/met; sleep 0.1; rmdir $here/busy; cp $here/tone.wav "$6"`,
    );
    provider = workshop.provider({ cpus: 1 });
    const results = await Promise.all([1, 2, 3, 4].map(() => speak()));
    expect(results.map(({ type }) => type)).toEqual(Array(4).fill('succeeded'));
    expect(workshop.has('met')).toBe(false);
  });
});

describe('a program that is ended', () => {
  it('by a stop is gone with all that it started, and that is certain', async () => {
    workshop.script('flite', HANG);
    provider = workshop.provider();
    const call = speech();
    const result = speak(call);
    const pids = await pidsOf();
    expect(pids.every(running)).toBe(true);
    expect(await provider.stop?.(engineRoute('flite'), { ...call, remoteId: null })).toBe(true);
    expect(await result).toMatchObject({ type: 'stopped', usage: null });
    await gone(pids);
    expect(rooms()).toEqual([]);
    expect(await provider.stop?.(engineRoute('flite'), { ...call, remoteId: null })).toBe(false);
  });

  it("by its call's signal, or because the platform goes, likewise", async () => {
    workshop.script('flite', `echo $$ >> $here/all; ${HANG}`);
    provider = workshop.provider({ cpus: 2 });
    const leaving = new AbortController();
    const results = [speak(speech({ signal: leaving.signal })), speak()];
    const pids = await until(async () => {
      const all = (await workshop.left('all')).trim().split('\n').map(Number);
      return all.length === 2 && all;
    });
    leaving.abort('leave');
    expect((await results[0])?.type).toBe('stopped');
    await provider.close();
    expect((await results[1])?.type).toBe('stopped');
    await gone(pids);
  });

  it('by its time limit has failed, and may be tried again', async () => {
    workshop.script('flite', HANG);
    provider = workshop.provider({ limits: { ms: 300 } });
    const result = failureOf(await speak());
    expect(result).toMatchObject({ code: 'provider_timeout', retryable: true });
    expect(result.evidence).toMatchObject({ sent: true, note: 'timeout' });
    await gone(await pidsOf());
  });

  it('with a process that is killed outright', async () => {
    workshop.script('flite', 'echo $$ $$ > $here/pids; exec sleep 600');
    provider = workshop.provider();
    const holder = spawn(process.execPath, [join(import.meta.dirname, 'hold.ts'), workshop.path], {
      stdio: 'inherit',
    });
    diesWithUs(holder);
    const pids = await pidsOf();
    expect(pids.every(running)).toBe(true);
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    await gone(pids);
    expect(rooms()).toHaveLength(1);
  });

  it('leaves a folder that is removed once it is old', () => {
    const [old, young] = ['call-old', 'call-young'].map((name) => join(workshop.roomsDir, name));
    mkdirSync(old!, { recursive: true });
    mkdirSync(young!);
    const then = new Date(Date.now() - 3 * 3_600_000);
    utimesSync(old!, then, then);
    provider = workshop.provider();
    expect(rooms()).toEqual(['call-young']);
  });
});

describe('a program that asks for too much', () => {
  it('memory: is ended, and not tried again', async () => {
    workshop.script(
      'flite',
      `exec perl -e 'push(@kept, "x" x (8 << 20)), select(undef, undef, undef, 0.02) while 1'`,
    );
    provider = workshop.provider({ limits: { memoryBytes: 200 * MB } });
    const result = failureOf(await speak());
    expect(result).toMatchObject({ code: 'provider_rejected', retryable: false });
    expect(result.evidence.note).toBe('memory');
  });

  it('memory faster than anybody could look: the kernel refuses it', async () => {
    workshop.script('flite', `exec perl -e '$kept = "x" x (900 << 20); sleep 600'`);
    provider = workshop.provider({ limits: { memoryBytes: 100 * MB } });
    expect(failureOf(await speak()).evidence.note).toMatch(/^exit code \d+; out of memory$/);
  });

  it('memory among several processes: they are counted together', async () => {
    const hog = `perl -e '$kept = "x" x (60 << 20); sleep 600'`;
    workshop.script('flite', `${hog} & ${hog} & ${hog} & wait`);
    provider = workshop.provider({ limits: { memoryBytes: 160 * MB } });
    expect(failureOf(await speak()).evidence.note).toBe('memory');
  });

  it.each([
    ['on stdout', 'exec yes'],
    ['in a file', 'exec yes > "$6"'],
    ['in files', 'for i in 1 2 3 4 5 6 7 8 9; do head -c 500000 /dev/zero > $i; done; sleep 600'],
  ])('output %s: is ended, and not tried again', async (_, lines) => {
    workshop.script('flite', lines);
    provider = workshop.provider({ limits: { outputBytes: MB } });
    expect(failureOf(await speak())).toMatchObject({ code: 'output_too_large', retryable: false });
    expect(rooms()).toEqual([]);
  });
});

describe('a program that fails', () => {
  it.each([
    ['with a code', 'exit 3', 'exit code 3; a file is missing', 'The engine failed with exit code 3.'],
    ['by a signal', 'kill -SEGV $$', 'signal SIGSEGV; a file is missing', 'The engine was ended by SIGSEGV.'],
  ])('%s: that is told, and nothing of what it said', async (_, end, note, message) => {
    workshop.script('flite', `cat "$4" >&2; echo ': cannot open file' >&2; cat "$4"; ${end}`);
    provider = workshop.provider();
    const result = failureOf(await speak());
    expect(result).toMatchObject({ code: 'provider_unavailable', retryable: true, message });
    expect(result.evidence).toMatchObject({ sent: true, http_status: null, note });
    expect(JSON.stringify(result)).not.toContain('sluices');
  });

  it('by writing no sound is malformed, and may be tried again', async () => {
    workshop.script('flite', `echo RIFF > "$6"`);
    provider = workshop.provider();
    expect(failureOf(await speak())).toMatchObject({ code: 'provider_malformed', retryable: true });
  });

  it('to be there, or to have the voice, has not been sent: the platform waits for it', async () => {
    provider = workshop.provider();
    expect(failureOf(await speak())).toMatchObject({
      code: 'provider_unavailable',
      evidence: { sent: false },
    });
    workshop.script('flite', `cp $here/tone.wav "$6"`);
    expect((await speak()).type).toBe('succeeded');
    const strange = failureOf(await provider.call(engineRoute('flite:nobody'), speech()));
    expect(strange).toMatchObject({ code: 'provider_unavailable', evidence: { sent: false } });
    for (const command of ['sh', '../flite', 'flite;id', 'toString'])
      expect(failureOf(await provider.call(engineRoute(command), speech())).evidence.sent).toBe(false);
  });
});
