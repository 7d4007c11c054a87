// From what is asked to the words of a command, and from what engines write to what a job answers.
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ExecProvider } from '../../../src/providers/exec/index.ts';
import { heardByPocketsphinx, heardByWhisper } from '../../../src/providers/exec/heard.ts';
import { fill } from '../../../src/providers/exec/template.ts';
import type { Call } from '../../../src/providers/provider.ts';
import { landscape } from '../../../src/providers/sim/draw/landscape.ts';
import { pngFile } from '../../../src/providers/sim/draw/png.ts';
import { callOf, until } from '../support.ts';
import { engineRoute, openWorkshop, type Workshop } from './scripts.ts';

describe('fill', () => {
  it('puts each value into its word, and never makes two words of one', () => {
    expect(fill(['-f', '{text}', '--x={y}'], { text: 'a b; c "d', y: '-1' })).toEqual([
      '-f',
      'a b; c "d',
      '--x=-1',
    ]);
  });

  it('leaves out words together where a value is missing', () => {
    expect(fill(['a', ['-s', '{pace}']], {})).toEqual(['a']);
    expect(fill(['a', ['-s', '{pace}']], { pace: 2 })).toEqual(['a', '-s', '2']);
    expect(() => fill(['{text}'], {})).toThrow('no value for text');
  });

  it('takes a value for what it is', () => {
    expect(fill(['{a}'], { a: '{b} $& $1', b: 'never' })).toEqual(['{b} $& $1']);
  });

  it('lets no value become an option, or be cut off', () => {
    expect(() => fill(['{text}'], { text: '--output=/etc/passwd' })).toThrow('begins with a dash');
    expect(fill([' {text}'], { text: '--output=/etc/passwd' })).toEqual([' --output=/etc/passwd']);
    expect(() => fill(['{text}'], { text: 'a\0b' })).toThrow('holds a NUL');
  });
});

describe('what engines heard', () => {
  // As pocketsphinx_continuous -time yes wrote it.
  const said = `send a report
<s> 8.020 8.100 1.000000
send 8.110 8.870 1.000000
a(2) 8.880 8.900 0.132121
report 8.910 9.320 0.828680
</s> 9.330 9.800 1.000000
it is fine
it 10.620 10.700 0.5
[NOISE] 10.710 10.750 0.5
fine 10.780 11.110 0.988861
`;
  it('of pocketsphinx: a segment for each stretch, from its first word to its last', () => {
    expect(heardByPocketsphinx(said)).toEqual({
      text: 'send a report it is fine',
      language: 'en',
      segments: [
        { start_ms: 8_110, end_ms: 9_320, text: 'send a report' },
        { start_ms: 10_620, end_ms: 11_110, text: 'it is fine' },
      ],
    });
    expect(heardByPocketsphinx('')).toEqual({ text: '', language: 'en', segments: [] });
    expect(heardByPocketsphinx('send 8.110 8.870 1.000000\n')).toBeNull();
  });

  it('of whisper.cpp: its segments and its language', () => {
    const item = { offsets: { from: 0, to: 1_500 }, text: ' Send it.' };
    const transcription = [item, { ...item, offsets: { from: 1_500, to: 2_000 } }];
    expect(heardByWhisper(JSON.stringify({ result: { language: 'en' }, transcription }))).toEqual({
      text: 'Send it. Send it.',
      language: 'en',
      segments: [
        { start_ms: 0, end_ms: 1_500, text: 'Send it.' },
        { start_ms: 1_500, end_ms: 2_000, text: 'Send it.' },
      ],
    });
    for (const bad of ['', '[]', '{"transcription":[{"text":"x"}]}', '{"transcription":[null]}'])
      expect(heardByWhisper(bad)).toBeNull();
  });
});

describe('an engine', () => {
  let workshop: Workshop;
  let provider: ExecProvider;
  beforeEach(() => {
    workshop = openWorkshop();
    provider = workshop.provider();
  });
  afterEach(() => workshop.remove());

  const model = async (engine: string, ...files: string[]) => {
    await mkdir(join(workshop.modelsDir, engine), { recursive: true });
    for (const file of files) writeFileSync(join(workshop.modelsDir, engine, file), 'weights');
  };
  const call = async (name: string, asked: Call) => {
    const result = await provider.call(engineRoute(name), asked);
    if (result.type === 'failed') return result.message;
    return result.type === 'succeeded' ? result.output : result.type;
  };
  const ARGS = `printf '%s\\n' "$@" > $here/args;`;
  const words = async (): Promise<string[]> => (await workshop.left('args')).trimEnd().split('\n');
  const speech = (rest: Record<string, unknown>) => callOf('tts', { input: 'One\ntwo', ...rest });
  const heardAt = (rest: Record<string, unknown>) =>
    callOf('stt', rest, {
      bounds: { audio_ms: 60_000 },
      artifact: {
        contentType: 'audio/wav',
        bytes: 1,
        durationMs: null,
        open: async () => Readable.from([readFileSync(join(workshop.path, 'tone.wav'))]),
      },
    });

  it('is there when its program is, with its voices', () => {
    expect(provider.engines()).toEqual([]);
    workshop.script('flite', 'true');
    expect(provider.engines()).toEqual(['flite', 'flite:slt', 'flite:rms', 'flite:awb', 'flite:kal']);
    expect(workshop.provider({ path: 'here:' }).engines()).toEqual([]);
  });

  it('that needs a model is there when that is, too', async () => {
    for (const name of ['piper', 'whisper-cli', 'sd']) workshop.script(name, 'true');
    await model('whisper-cli', 'notes.txt');
    await model('piper', 'amy.onnx');
    expect(provider.engines()).toEqual([]);
    await model('whisper-cli', 'ggml-tiny.bin', 'ggml-base.en.bin', '-bad.bin');
    await model('piper', 'amy.onnx.json');
    await model('sd', 'sd1.5.gguf');
    expect(provider.engines()).toEqual([
      'piper',
      'piper:amy',
      'whisper-cli',
      'whisper-cli:ggml-base.en',
      'whisper-cli:ggml-tiny',
      'sd',
      'sd:sd1.5',
    ]);
  });

  it('speaks with the voice of the input, else of the route, at its speed', async () => {
    workshop.script('flite', `${ARGS} while [ "$1" != -o ]; do shift; done; cp $here/tone.wav "$2"`);
    await call('flite:kal', speech({}));
    expect((await words())[1]).toBe('kal');
    await call('flite:kal', speech({ voice: 'awb', speed: 2, response_format: 'wav' }));
    expect((await words()).slice(0, 4)).toEqual(['-voice', 'awb', '--setf', 'duration_stretch=0.500']);
    workshop.script('espeak-ng', `${ARGS} while [ "$1" != -w ]; do shift; done; cp $here/tone.wav "$2"`);
    await call('espeak-ng', speech({ speed: 0.25 }));
    expect((await words()).slice(0, 4)).toEqual(['-v', 'en-us', '-s', '80']);
  });

  it.each([
    [{ voice: 'alloy' }, 'flite has no such voice. input.voice may be slt, rms, awb, kal.'],
    [{ voice: '/etc/passwd' }, 'flite has no such voice. input.voice may be slt, rms, awb, kal.'],
    [{ response_format: 'mp3' }, 'flite writes WAV only. Leave out input.response_format, or set it to wav.'],
    [{ instructions: 'sing' }, 'flite takes no instructions. Leave out input.instructions.'],
  ])('refuses %j with a remedy, and does not begin', async (rest, message) => {
    workshop.script('flite', ARGS);
    expect(await call('flite', speech(rest))).toBe(message);
    expect(workshop.has('args')).toBe(false);
  });

  it('piper reads one line, and the voice from its file', async () => {
    workshop.script('piper', `${ARGS} cat > $here/text; cp $here/tone.wav "$4"`);
    await model('piper', 'amy.onnx', 'amy.onnx.json');
    expect(await call('piper', speech({}))).toMatchObject({ durationMs: 500 });
    expect((await words()).slice(0, 2)).toEqual(['--model', join(workshop.modelsDir, 'piper/amy.onnx')]);
    expect(await workshop.left('text')).toBe('One two\n');
  });

  it('whisper-cli writes JSON beside', async () => {
    const json = '{"result":{"language":"de"},"transcription":[{"offsets":{"from":0,"to":9},"text":" Ja"}]}';
    workshop.script('whisper-cli', `${ARGS} while [ $# -gt 1 ]; do shift; done; echo '${json}' > "$1.json"`);
    await model('whisper-cli', 'tiny.bin');
    expect(await call('whisper-cli:tiny', heardAt({ language: 'de-CH' }))).toMatchObject({
      text: 'Ja',
      language: 'de',
      durationMs: 500,
    });
    const said = await words();
    expect(said[said.indexOf('--language') + 1]).toBe('de');
    expect(said[said.indexOf('--threads') + 1]).toBe(String(Math.min(4, availableParallelism())));
    expect(await call('whisper-cli', heardAt({ language: '--help' }))).toContain('Change input.language');
  });

  it('pocketsphinx hears English, and says so of any other', async () => {
    workshop.script('pocketsphinx_continuous', ARGS);
    expect(await call('pocketsphinx', heardAt({ language: 'en-GB' }))).toMatchObject({
      text: '',
      segments: [],
    });
    expect(await call('pocketsphinx', heardAt({ language: 'de' }))).toBe(
      'pocketsphinx hears en. Change input.language, or leave it out.',
    );
    const audio = {
      contentType: 'audio/mpeg',
      bytes: 3,
      durationMs: null,
      open: async () => Readable.from([Buffer.from('ID3')]),
    };
    expect(await call('pocketsphinx', callOf('stt', {}, { artifact: audio }))).toContain('hears WAV files');
  });

  it('sound is made ready for one call after the other, and a call that is stopped leaves the line', async () => {
    workshop.script('pocketsphinx_continuous', 'true');
    const [bytes, gate] = [readFileSync(join(workshop.path, 'tone.wav')), Promise.withResolvers<void>()];
    let [open, most] = [0, 0];
    async function* slowly() {
      most = Math.max(most, (open += 1));
      await gate.promise;
      yield bytes;
      open -= 1;
    }
    const artifact = { contentType: 'audio/wav', bytes: 1, durationMs: null };
    const asked = { artifact: { ...artifact, open: async () => Readable.from(slowly()) } };
    const calls = [1, 2, 3].map(() => call('pocketsphinx', callOf('stt', {}, asked)));
    const stop = new AbortController();
    const stopped = call('pocketsphinx', callOf('stt', {}, { ...asked, signal: stop.signal }));
    await until(async () => open > 0);
    stop.abort('cancel');
    expect(await stopped).toBe('stopped');
    gate.resolve();
    expect(await Promise.all(calls)).toMatchObject([{ text: '' }, { text: '' }, { text: '' }]);
    expect(most).toBe(1);
  });

  it('sd draws each image with the next seed, and takes no prompt for an option', async () => {
    writeFileSync(
      join(workshop.path, 'made.png'),
      await pngFile(landscape({ prompt: 'mill', seed: 1, width: 128, height: 64 })),
    );
    workshop.script(
      'sd',
      `printf '%s\\n' "$@" >> $here/args; while [ $# -gt 1 ]; do shift; done; cp $here/made.png "$1"`,
    );
    await model('sd', 'sd1.5.gguf');
    const asked = callOf('image', { prompt: '--rm -rf /', seed: 7 }, { bounds: { n: 2, size: '128x64' } });
    expect(await call('sd', asked)).toMatchObject({
      images: [
        { width: 128, height: 64, seed: 7, contentType: 'image/png' },
        { width: 128, height: 64, seed: 8 },
      ],
    });
    const said = await words();
    expect(said.filter((_, i) => said[i - 1] === '--seed')).toEqual(['7', '8']);
    expect(said[said.indexOf('--prompt') + 1]).toBe(' --rm -rf /');
    const odd = callOf('image', { prompt: 'a mill' }, { bounds: { n: 1, size: '100x100' } });
    expect(await call('sd', odd)).toContain('multiples of 64');
  });
});
