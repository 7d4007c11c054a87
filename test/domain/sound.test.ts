// Lengths and kinds of sound, on files that ffmpeg made: a tone of a second at 8 kHz, and what its coders add to it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { measureStream, recognise } from '../../src/domain/measure-sound.ts';
import { settledType } from '../../src/domain/media-types.ts';
import { markedSound } from '../../src/domain/sound.ts';
import { wavFile } from '../../src/domain/wav.ts';
import { mp3 } from '../support/media-vendor.ts';

const file = (name: string): Buffer => readFileSync(join(import.meta.dirname, 'media', name));
const wav = wavFile(new Int16Array(16_000));
const rated = (bytes: Buffer, offset: number, value: number): Buffer => {
  const other = Buffer.from(bytes);
  other.writeUInt16LE(value, offset);
  return other;
};

describe('sound', () => {
  it.each([
    ['tone.mp3', 'audio/mpeg', 1_224],
    ['tone.aac', 'audio/aac', 1_153],
    ['tone.m4a', 'audio/mp4', 1_152],
    ['fragments.m4a', 'audio/mp4', 1_152],
    ['tone.ogg', 'audio/ogg', 1_020],
    ['tone.webm', 'audio/webm', 1_021],
    ['live.webm', 'audio/webm', 1_021],
    ['silence.flac', 'audio/flac', 1_000],
    ['streamed.flac', 'audio/flac', 1_000],
    ['vorbis.ogg', 'audio/ogg', 1_000],
  ])('%s is %s of %d ms, in one piece and in any others', async (name, contentType, durationMs) => {
    const bytes = file(name);
    const sound = { durationMs, sampleRate: 8_000 };
    expect(await recognise(bytes)).toEqual({ contentType, ...sound });
    for (const size of [1, 7, 600]) {
      const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
        bytes.subarray(i * size, (i + 1) * size),
      );
      const stream = Readable.from(pieces, { objectMode: false });
      expect(await measureStream(stream, { contentType, bytes: bytes.length })).toEqual(sound);
    }
  });

  it.each([
    ['FLAC of which the most is missing', file('silence.flac').subarray(0, 20)],
    ['MP4 of which the most is missing', file('tone.m4a').subarray(0, 60)],
    ['a picture in an MP4', file('tone.m4a').subarray(0, 28)],
    ['MP3 in a WAV', rated(wav, 20, 0x55)],
    ['a WAV of no believable rate', rated(wav, 24, 1)],
    [
      'an ID3 tag with nothing behind it',
      Buffer.concat([Buffer.from('ID3\x04\0\0\0\0\0\x05'), Buffer.alloc(200)]),
    ],
    ['a text', Buffer.from('Once upon a time there was a mill.')],
    ['nothing', Buffer.alloc(0)],
  ])('%s has no length that is known', async (_, bytes) => {
    expect((await recognise(bytes)).durationMs).toBeNull();
  });

  it('in MP3 lasts as long as its frames, whatever its header claims, behind whatever tag, around whatever junk', async () => {
    const [first, ...rest] = [mp3(1), mp3(99)];
    const lie = Buffer.from(first);
    // "Of one frame", as encoders of variable bit rate say it.
    Buffer.from('Xing\0\0\0\x01\0\0\0\x01').copy(lie, 36);
    const tag = Buffer.concat([Buffer.from('ID3\x04\0\0\0\0\x10\0'), mp3(5).subarray(0, 2_048)]);
    const told = await recognise(Buffer.concat([tag, lie, Buffer.alloc(999), ...rest]));
    expect(told).toEqual({ contentType: 'audio/mpeg', durationMs: 2_613, sampleRate: 44_100 });
  });

  it('in Ogg lasts as long as its packets of Opus, whatever position its last page claims', async () => {
    const lie = Buffer.from(file('tone.ogg'));
    lie.writeBigUInt64LE(480n, lie.lastIndexOf('OggS') + 6);
    expect(await recognise(lie)).toMatchObject({ durationMs: 1_020 });
    // One file behind the other is heard to the end of the second.
    const twice = Buffer.concat([lie, lie]);
    expect(await recognise(twice)).toMatchObject({ durationMs: 2_040 });
  });

  it('in WebM lasts as long as its blocks, whatever times they claim', async () => {
    const lie = Buffer.from(file('live.webm'));
    // Behind the cluster's time, which is 0: each block's own time stands behind its name, its size and its track.
    let [at, blocks] = [lie.indexOf(Buffer.from([0xe7, 0x81, 0x00])) + 3, 0];
    for (; lie[at] === 0xa3; blocks++) {
      lie.writeInt16BE(0, at + 3);
      at += 2 + ((lie[at + 1] as number) & 0x7f);
    }
    // The last stands in a group.
    lie.writeInt16BE(0, lie.indexOf(0xa1, at + 1) + 3);
    expect(blocks).toBeGreaterThan(40);
    expect(await recognise(lie)).toMatchObject({ contentType: 'audio/webm', durationMs: 1_020 });
  });

  it('in MP4 lasts as long as its tables of samples, and its AAC no shorter than its frames', async () => {
    const lie = Buffer.from(file('tone.m4a'));
    // Behind the name: version and flags, two entries: how many samples, and how long each of them is.
    const times = lie.indexOf('stts') + 4;
    expect([lie.readUInt32BE(times + 4), lie.readUInt32BE(times + 12)]).toEqual([2, 1024]);
    lie.writeUInt32BE(1, times + 12);
    // And the length of the whole, at two places.
    lie.writeUInt32BE(1, lie.indexOf('mdhd') + 4 + 16);
    lie.writeUInt32BE(1, lie.indexOf('mvhd') + 4 + 16);
    expect(await recognise(lie)).toMatchObject({ durationMs: 1_152 });
  });

  const [FREE, VOID, PADDING] = ['\0\0\0\x08free', '\xec\x80', '\x01\0\0\0'];
  it.each([
    ['MP4', 'audio/mp4', file('tone.m4a').subarray(0, 28), FREE],
    ['WebM', 'audio/webm', file('live.webm').subarray(0, 48), VOID],
    ['FLAC', 'audio/flac', file('silence.flac').subarray(0, 42), PADDING],
    ['Ogg', 'audio/ogg', file('tone.ogg').subarray(0, 47), `OggS${'\0'.repeat(23)}`],
    ['MP3', 'audio/mpeg', mp3(1), '\xff\xff\xff\xff'],
  ])('a file of %s made of nothing but empty parts holds nobody up', async (_, contentType, head, part) => {
    const bytes = Buffer.concat([head, Buffer.alloc(8 << 20, part, 'latin1')]);
    const lag = monitorEventLoopDelay({ resolution: 5 });
    lag.enable();
    const began = performance.now();
    expect((await recognise(bytes)).contentType).toBe(contentType);
    // By a parser of general use, half a minute, in which nobody else was served.
    expect(performance.now() - began).toBeLessThan(10_000);
    lag.disable();
    expect(lag.max / 1e6).toBeLessThan(2_000);
  });

  it.each([
    ['MP4', file('tone.m4a').subarray(0, 28), '\0\0\0\x08trak'],
    ['WebM', file('live.webm').subarray(0, 48), '\xae\x80'],
  ])(
    'a file of %s made of nothing but tracks takes neither the memory nor the time of anybody',
    async (_, head, part) => {
      const bytes = Buffer.concat([head, Buffer.alloc(8 << 20, part, 'latin1')]);
      const before = process.memoryUsage().heapUsed;
      const lag = monitorEventLoopDelay({ resolution: 5 });
      lag.enable();
      expect((await recognise(bytes)).durationMs).toBeNull();
      lag.disable();
      expect(lag.max / 1e6).toBeLessThan(2_000);
      expect(process.memoryUsage().heapUsed - before).toBeLessThan(50 << 20);
    },
  );

  it('in MP4 is as many frames of AAC as it has sizes for, whatever its times say', async () => {
    const lie = Buffer.from(file('tone.m4a'));
    const times = lie.indexOf('stts') + 4;
    lie.writeUInt32BE(1, times + 8);
    lie.writeUInt32BE(1, times + 12);
    lie.writeUInt32BE(1, lie.indexOf('mdhd') + 4 + 16);
    expect(await recognise(lie)).toMatchObject({ durationMs: 1_152 });
  });

  const TAG = Buffer.from('ID3\x04\0\0\0\0\0\x05tiny!', 'latin1');
  it('behind a tag, or a first frame of another kind, is what decoders hear in it', async () => {
    const behind = async (...parts: Buffer[]) => (await recognise(Buffer.concat(parts))).durationMs;
    expect(await behind(TAG, file('tone.aac'))).toBe(1_153);
    expect(await behind(TAG, TAG, file('tone.mp3'))).toBe(1_224);
    expect(await behind(file('tone.aac').subarray(0, 7), file('tone.mp3'))).toBe(1_224);
    // Counted by frames they have none of, these would last as long as chance has it.
    for (const name of ['silence.flac', 'tone.ogg', 'tone.m4a', 'live.webm'])
      expect(await behind(TAG, file(name), mp3(1))).toBeNull();
  });

  it('in FLAC lasts as long as its frames, whatever its header claims and whatever stands between them', async () => {
    const lie = Buffer.from(file('silence.flac'));
    // One sample in all.
    lie.fill(0, 22, 26);
    lie[25] = 1;
    const noise = Buffer.alloc(300_000, 0xff);
    expect(await recognise(Buffer.concat([lie, noise]))).toMatchObject({ durationMs: 1_000 });
  });

  it('in Vorbis is not believed to be shorter than its bytes can be', async () => {
    const lie = Buffer.concat([file('vorbis.ogg'), Buffer.alloc(2_000_000)]);
    expect(await recognise(lie)).toMatchObject({ contentType: 'audio/ogg', durationMs: null });
  });

  it('in WAV lasts as long as there are samples, whatever its header claims', async () => {
    const lie = Buffer.from(wav);
    lie.writeUInt32LE(2, 40);
    expect(await recognise(lie)).toMatchObject({ durationMs: 1_000 });
  });

  it('is called what it is, unless its name is another for the same', () => {
    expect(settledType('audio/x-m4a', 'audio/mp4')).toBe('audio/x-m4a');
    expect(settledType('video/mp4', 'audio/mp4')).toBe('video/mp4');
    expect(settledType('audio/wav', 'audio/mpeg')).toBe('audio/mpeg');
    expect(settledType('text/plain', 'image/png')).toBe('image/png');
    expect(settledType('text/plain', null)).toBe('text/plain');
    expect(markedSound(Buffer.from('RIFF....AVI LIST'))).toBeNull();
  });
});
