import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { listen } from '../../../src/providers/sim/sound/listen.ts';
import { samplesOf } from '../../../src/providers/sim/sound/listen-input.ts';
import { rsDecode, rsEncode } from '../../../src/providers/sim/sound/reed-solomon.ts';
import { speak } from '../../../src/providers/sim/sound/speak.ts';
import { pcmBytes, SAMPLE_RATE, wavFile, wavInfo } from '../../../src/domain/wav.ts';
import { joined, noisy } from './noise.ts';

const plain = { voice: 'miller', speed: 1 };
const silence = (samples: number) => new Int16Array(samples);
const textIn = (samples: Int16Array) => listen(samples).map(({ text }) => text);

const TEXTS = [
  'a',
  'The wheel turns, and all is ground fine.',
  'Größe, naïve, Œuvre, Ægir, ¿qué?',
  '水車は回る。小麦粉は白い。',
  'العجلة تدور',
  '👩‍👩‍👧‍👦 👍🏽 🌊🌾 e\u0301 \u200d \ufeff',
  'line one\nline two\ttab "quotes" \\ slash \u0001',
  'x'.repeat(231) + 'y',
];

describe('speech that is spoken and heard', () => {
  it.each(TEXTS)('keeps %j to the letter', (text) => {
    expect(textIn(speak(text, plain))).toEqual([text]);
  });

  it('keeps any text', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', minLength: 1, maxLength: 300 }),
        fc.string({ maxLength: 8 }),
        (text, voice) => {
          expect(textIn(speak(text, { voice, speed: 1 }))).toEqual([text]);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('keeps 8,000 characters, at 40 or more a second, and hears 10 s of them in under 300 ms', () => {
    const text = 'Ein Mühlrad dreht sich im Bach. '.repeat(250);
    const samples = speak(text, plain);
    expect(text.length).toBe(8_000);
    expect(text.length / (samples.length / SAMPLE_RATE)).toBeGreaterThan(40);
    expect(textIn(noisy(samples, { snr: 20, seed: 5 }))).toEqual([text]);
    const short = speak(text.slice(0, 1_400), plain);
    expect(short.length / SAMPLE_RATE).toBeGreaterThan(9);
    const began = performance.now();
    expect(listen(short)).toHaveLength(1);
    expect(((performance.now() - began) * 10) / (short.length / SAMPLE_RATE)).toBeLessThan(300);
  });

  it('is fast enough for short texts too', () => {
    const text = 'Forty characters of speech are not much.';
    expect(text.length / (speak(text, plain).length / SAMPLE_RATE)).toBeGreaterThan(40);
  });

  it.each([0.25, 0.5, 1, 4])('keeps a text at speed %d, and slow speech lasts longer', (speed) => {
    const text = 'Slowly grinds the stone. '.repeat(8);
    const samples = speak(text, { voice: 'alto', speed });
    expect(textIn(samples)).toEqual([text]);
    if (speed < 1) expect(samples.length).toBeGreaterThan(1.5 * speak(text, plain).length);
  });
});

describe('speech under bad conditions', () => {
  const text = 'Flour for the morning, 🌾 twelve sacks; Größe XL.';
  const samples = speak(text, plain);

  it.each(Array.from({ length: 24 }, (_, i) => i + 1))(
    'is heard at 20 dB of noise, any offset, seed %d',
    (seed) => {
      const offset = (seed * 7_919) % 20_000;
      expect(textIn(noisy(joined(silence(offset), samples), { snr: 20, seed }))).toEqual([text]);
    },
  );

  it.each([1, 2, 3, 4, 5, 6])('is heard at 3 dB of noise, seed %d', (seed) => {
    expect(textIn(noisy(samples, { snr: 3, seed }))).toEqual([text]);
  });

  it('is heard after every offset within two frames', () => {
    for (let offset = 0; offset < 512; offset += 7)
      expect(textIn(joined(silence(offset), samples))).toEqual([text]);
  });

  it('is heard when its start is cut off, up to half of the preamble', () => {
    for (let cut = 0; cut <= 1_280 + 6 * 256; cut += 101)
      expect(textIn(samples.subarray(cut))).toEqual([text]);
  });

  it('is heard when its end is cut off within the last silence', () => {
    expect(textIn(samples.subarray(0, samples.length - 1_280))).toEqual([text]);
  });

  it.each([0.02, 0.3, 1.9, -1])('is heard at a loudness of %d', (factor) => {
    const louder = samples.map((sample) => Math.max(-32_768, Math.min(32_767, Math.round(sample * factor))));
    expect(textIn(louder)).toEqual([text]);
  });

  it('is heard with a gap of 30 ms in it', () => {
    const long = 'A sack of flour, and another one. '.repeat(20);
    const holed = speak(long, plain);
    holed.fill(0, 30_000, 30_480);
    expect(textIn(holed)).toEqual([long]);
  });

  it('is heard twice when spoken twice, with times', () => {
    const both = listen(joined(speak('One.', plain), silence(3_333), speak('Two.', plain)));
    expect(both.map((utterance) => utterance.text)).toEqual(['One.', 'Two.']);
    expect(both[1]!.startMs).toBeGreaterThan(both[0]!.endMs);
  });

  it('is not made up out of silence, noise, a tone, or a text cut off in the middle', () => {
    const tone = Int16Array.from({ length: 40_000 }, (_, i) => 9_000 * Math.sin(i / 4));
    const long = speak('A long story that nobody hears to its end. '.repeat(30), plain);
    expect(textIn(silence(50_000))).toEqual([]);
    expect(textIn(noisy(tone, { snr: -40, seed: 3 }))).toEqual([]);
    expect(textIn(tone)).toEqual([]);
    expect(textIn(long.subarray(0, long.length >> 1))).toEqual([]);
    expect(textIn(new Int16Array(0))).toEqual([]);
  });
});

const heard = (bytes: Buffer, shift: 0 | 1 = 0) => textIn(samplesOf(bytes, shift)!.samples);
const chunk = (name: string, data: Buffer) => {
  const size = Buffer.alloc(4);
  size.writeUInt32LE(data.length);
  return Buffer.concat([Buffer.from(name, 'latin1'), size, data, Buffer.alloc(data.length % 2)]);
};
const riff = (...chunks: Buffer[]) => {
  const body = Buffer.concat([Buffer.from('WAVE'), ...chunks]);
  return chunk('RIFF', body);
};
const fmt = (format: number, { channels, rate, bits }: { channels: number; rate: number; bits: number }) => {
  const data = Buffer.alloc(16);
  data.writeUInt16LE(format, 0);
  data.writeUInt16LE(channels, 2);
  data.writeUInt32LE(rate, 4);
  data.writeUInt32LE((rate * channels * bits) / 8, 8);
  data.writeUInt16LE((channels * bits) / 8, 12);
  data.writeUInt16LE(bits, 14);
  return chunk('fmt ', data);
};

describe('what clients call audio', () => {
  const text = 'Any header will do.';
  const samples = speak(text, plain);
  const wav = wavFile(samples);
  it('says what it is in a header of 44 bytes', () => {
    expect(wavInfo(wav)).toEqual({
      format: 1,
      channels: 1,
      sampleRate: 16_000,
      bitsPerSample: 16,
      start: 44,
      end: wav.length,
    });
    expect(wav.readUInt32LE(4)).toBe(wav.length - 8);
  });

  it('may have chunks that nobody knows, of odd length, before and after the sound', () => {
    const list = chunk('LIST', Buffer.from('INFOISFT\x07\0\0\0sim 1.0'));
    const odd = chunk('junk', Buffer.from('abc'));
    const file = riff(
      list,
      fmt(1, { channels: 1, rate: 16_000, bits: 16 }),
      odd,
      chunk('data', pcmBytes(samples)),
      list,
    );
    expect(heard(file)).toEqual([text]);
  });

  it.each([0, 0xffffffff, 1 << 30])('may claim %d bytes of sound', (size) => {
    const file = Buffer.from(wav);
    file.writeUInt32LE(size, 40);
    expect(heard(file)).toEqual([text]);
  });

  it('may be raw, or have lost any part of its header, even an odd one', () => {
    expect(heard(pcmBytes(samples))).toEqual([text]);
    for (let cut = 1; cut <= 60; cut++) {
      const bytes = wav.subarray(cut);
      expect([...heard(bytes), ...heard(bytes, 1)]).toEqual([text]);
    }
  });

  it('may be stereo, 8, 24 or 32 bits, floating point, or of another rate', () => {
    const as = (
      format: number,
      bits: number,
      write: (buffer: Buffer, sample: number, at: number) => void,
    ) => {
      const data = Buffer.alloc((samples.length * 2 * bits) / 8);
      samples.forEach((sample, i) => {
        write(data, sample, (i * 2 * bits) / 8);
        write(data, sample, ((i * 2 + 1) * bits) / 8);
      });
      return riff(fmt(format, { channels: 2, rate: 16_000, bits }), chunk('data', data));
    };
    expect(heard(as(1, 8, (buffer, sample, at) => buffer.writeUInt8((sample >> 8) + 128, at)))).toEqual([
      text,
    ]);
    expect(heard(as(1, 16, (buffer, sample, at) => buffer.writeInt16LE(sample, at)))).toEqual([text]);
    expect(heard(as(1, 24, (buffer, sample, at) => buffer.writeIntLE(sample * 256, at, 3)))).toEqual([text]);
    expect(heard(as(1, 32, (buffer, sample, at) => buffer.writeInt32LE(sample * 65_536, at)))).toEqual([
      text,
    ]);
    expect(heard(as(3, 32, (buffer, sample, at) => buffer.writeFloatLE(sample / 32_768, at)))).toEqual([
      text,
    ]);
    const thrice = new Int16Array(samples.length * 3).map((_, i) => samples[Math.floor(i / 3)]!);
    expect(
      heard(riff(fmt(1, { channels: 1, rate: 48_000, bits: 16 }), chunk('data', pcmBytes(thrice)))),
    ).toEqual([text]);
  });

  it('is refused in formats that are none of these', () => {
    expect(
      samplesOf(riff(fmt(6, { channels: 1, rate: 8_000, bits: 8 }), chunk('data', Buffer.alloc(800))), 0),
    ).toBeNull();
  });
});

describe('Reed-Solomon', () => {
  it('mends up to half of its check bytes, wherever they are', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 231 }),
        fc.uniqueArray(fc.nat(), { maxLength: 12 }),
        fc.integer({ min: 1, max: 255 }),
        (data, places, flip) => {
          const block = rsEncode(data, 24);
          for (const place of new Set(places.map((value) => value % block.length))) block[place]! ^= flip;
          expect(rsDecode(block, 24)).toEqual(data);
        },
      ),
    );
  });

  it('says when there were too many errors, mostly, and never throws', () => {
    const data = Uint8Array.from({ length: 100 }, (_, i) => i);
    for (let seed = 0; seed < 50; seed++) {
      const block = rsEncode(data, 24);
      for (let i = 0; i < 20; i++) block[(i * 5 + seed) % block.length]! ^= 1 + ((seed * 31 + i * 7) % 255);
      expect(rsDecode(block, 24)).not.toEqual(data);
    }
  });
});
