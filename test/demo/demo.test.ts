// The demo as a newcomer runs it, from an empty folder: it starts everything, and nothing of it stays.
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { dataFolder, type Folder } from '../embedded/folder.ts';
import { until } from '../embedded/process.ts';
import { type Command, type CommandOptions, runNode } from '../support/command.ts';

vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

describe('the demo', () => {
  let folder: Folder;
  let cwd: string;
  beforeAll(async () => {
    folder = await dataFolder();
  });
  beforeEach(async () => {
    await folder.quiet();
    cwd = join(folder.dataDir, '..', 'cwd');
    await mkdir(cwd, { recursive: true });
  });
  afterAll(() => folder.remove());
  const demo = (args: string[], options: CommandOptions = {}): Command =>
    runNode(['demo/main.ts', ...args], {
      cwd,
      ...options,
      env: { MILLRACE_DATA_DIR: folder.dataDir, ...options.env },
    });
  const services = async () => [(await folder.postmaster())?.pid ?? null, folder.sim()];

  it('passes with prompts of its own, whatever servers the environment names, and leaves nothing running', async () => {
    const say = 'Zwölf Räder – 水車 🌾, “the wheel” turns.';
    const env = {
      DATABASE_URL: 'postgres://127.0.0.1:1/not-mine',
      REDIS_URL: 'redis://127.0.0.1:1',
      PORT: '1',
      HOST: 'nowhere.invalid',
    };
    const command = demo(['--prompt', 'Who minds the sluice?', '--say', say, '--draw', 'a sluice'], { env });
    expect(await command.ended).toBe(0);
    expect(command.err).toEqual([]);
    expect(await readdir(join(cwd, 'out'))).toEqual([
      'chat.txt',
      'image.png',
      'speech.wav',
      'transcript.txt',
    ]);
    expect(await readFile(join(cwd, 'out', 'transcript.txt'), 'utf8')).toBe(say);
    const text = await readFile(join(cwd, 'out', 'chat.txt'), 'utf8');
    expect(text).toContain('“Who minds the sluice”');
    expect(command.out).toContain(`  ${text}`);

    const table = command.out.slice(command.out.findIndex((line) => line.startsWith('job ')));
    expect(table[0]?.split(/ {2,}/)).toEqual([
      'job',
      'model',
      'made by',
      'wait',
      'run',
      'hold',
      'cost',
      'balance after',
    ]);
    const rows = table.slice(2, 6).map((line) => line.split(/ {2,}/));
    expect(rows.map(([, model]) => model)).toEqual(['sim/chat', 'sim/image', 'sim/tts', 'sim/stt']);
    expect(rows.map(([, , engine]) => engine)).toEqual(['sim', 'sim', 'sim', 'sim']);
    const credits = (cell: string | undefined) => Number(cell?.replaceAll(',', ''));
    let left = 2_000_000;
    for (const row of rows) expect(credits(row[7])).toBe((left -= credits(row[6])));
    expect(command.out.at(-1)).toMatch(
      /^All held: the transcript is the sentence, .* WebSocket and webhooks told the same/,
    );
    expect(await services()).toEqual([null, null]);
  });

  it('stops everything on a Ctrl-C, which the whole group hears', async () => {
    const command = demo([], { leads: true });
    await command.said(/^Chat: /);
    expect((await services()).every(Boolean)).toBe(true);
    command.signal('SIGINT');
    expect(await command.ended).toBe(130);
    expect(command.err).toEqual(['demo: stopped, and the platform with it']);
    expect(await services()).toEqual([null, null]);
  });

  it('stops everything on a signal to itself alone, while all is still starting', async () => {
    const command = demo([]);
    await command.said(/simulator/);
    command.signal('SIGTERM');
    expect(await command.ended).toBe(143);
    expect(await services()).toEqual([null, null]);
  });

  it('takes the platform with it when it is killed', async () => {
    const command = demo([]);
    await command.said(/^Chat: /);
    command.signal('SIGKILL');
    await until('all is stopped', async () => (await services()).every((pid) => pid === null));
  });

  it('shows what keeps the platform from starting, and ends', async () => {
    const command = demo([], { env: { MILLRACE_DATA_DIR: '/dev/null/millrace' } });
    expect(await command.ended).toBe(1);
    expect(command.out).toContainEqual(
      expect.stringMatching(/^platform: .*\/dev\/null\/millrace.*MILLRACE_DATA_DIR/),
    );
    expect(command.err).toEqual(['demo: The platform ended with code 1; above is what it said.']);
  });

  it.each([
    ['its value came', ['Who?'], { npm_config_prompt: 'true' }, '--prompt <text>'],
    ['nothing came', [], { npm_config_out: 'elsewhere' }, '--out <folder>'],
    ['only words came', ['Who?'], {}, '--prompt <text>'],
  ])('says where options go, if npm kept one and %s', async (_, args, env, flags) => {
    const command = demo(args, { env });
    expect(await command.ended).toBe(1);
    expect(command.err).toEqual([
      `error: npm kept an option to itself; its place is behind "--": npm run demo -- ${flags}`,
    ]);
    expect(command.out).toEqual([]);
  });

  it.each(['--prompt', '--say', '--draw'])('wants some text for %s', async (option) => {
    const command = demo([option, '  ']);
    expect(await command.ended).toBe(1);
    expect(command.err).toEqual([expect.stringMatching(new RegExp(`${option} .*It must say something`))]);
  });
});
