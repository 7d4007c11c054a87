import { describe, expect, it } from 'vitest';
import { engineSound } from '../../../src/providers/exec/sound.ts';
import { wavInfo } from '../../../src/domain/wav.ts';

interface Kind {
  rate: number;
  channels: number;
  bits: 8 | 16 | 24 | 32;
  float?: boolean;
}

const PEAK = 0.5;

/** A second of a tone at half of full scale, the same on all channels. */
function tone(hertz: number, { rate, channels, bits, float = false }: Kind): Buffer {
  const step = bits / 8;
  const data = Buffer.alloc(rate * channels * step);
  for (let i = 0; i < rate * channels; i++) {
    const value = PEAK * Math.sin((2 * Math.PI * hertz * Math.floor(i / channels)) / rate);
    if (float) data.writeFloatLE(value, i * step);
    else if (bits === 8) data[i] = Math.round(value * 127) + 128;
    else data.writeIntLE(Math.round(value * (2 ** (bits - 1) - 1)), i * step, step);
  }
  const header = Buffer.alloc(44);
  header.write('RIFF', 0, 'latin1');
  header.writeUInt32LE(36 + data.length, 4);
  header.write('WAVEfmt ', 8, 'latin1');
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(float ? 3 : 1, 20);
  header.writeUInt16LE(channels, 22);
  header.writeUInt32LE(rate, 24);
  header.writeUInt32LE(rate * channels * step, 28);
  header.writeUInt16LE(channels * step, 32);
  header.writeUInt16LE(bits, 34);
  header.write('data', 36, 'latin1');
  header.writeUInt32LE(data.length, 40);
  return Buffer.concat([header, data]);
}

/** How strong the tone is in a file of ours, its ends left out, where 1 is full scale. */
function strength(file: Buffer, hertz: number): number {
  const info = wavInfo(file)!;
  let [re, im, count] = [0, 0, 0];
  for (let i = 1_600; i < 14_400; i++) {
    const at = (2 * Math.PI * hertz * i) / info.sampleRate;
    const value = file.readInt16LE(info.start + 2 * i) / 32_768;
    [re, im, count] = [re + value * Math.cos(at), im + value * Math.sin(at), count + 1];
  }
  return (2 * Math.hypot(re, im)) / count;
}

describe('engineSound', () => {
  it.each<Kind>([
    { rate: 16_000, channels: 1, bits: 16 },
    { rate: 8_000, channels: 1, bits: 8 },
    { rate: 44_100, channels: 2, bits: 24 },
    { rate: 48_000, channels: 1, bits: 32, float: true },
    { rate: 22_050, channels: 6, bits: 32 },
    { rate: 44_101, channels: 1, bits: 16 },
  ])('makes 16 kHz, mono, 16 bits of %j', async (kind) => {
    const sound = await engineSound(tone(1_000, kind), 60_000);
    expect(wavInfo(sound!.file)).toMatchObject({
      sampleRate: 16_000,
      channels: 1,
      bitsPerSample: 16,
      format: 1,
    });
    expect(sound!.durationMs).toBe(1_000);
    expect(sound!.file.length).toBe(44 + 32_000);
    expect(strength(sound!.file, 1_000)).toBeCloseTo(PEAK, 1);
  });

  it('lets nothing that is too high come back as another tone', async () => {
    const { file } = (await engineSound(tone(11_000, { rate: 48_000, channels: 1, bits: 16 }), 60_000))!;
    // 11 kHz sampled at 16 kHz would sound as 5 kHz.
    expect(strength(file, 5_000)).toBeLessThan(0.01);
  });

  it('hears no more than was priced', async () => {
    const sound = await engineSound(tone(1_000, { rate: 44_100, channels: 1, bits: 16 }), 300);
    expect(sound!.durationMs).toBe(300);
    expect(sound!.file.length).toBe(44 + 9_600);
  });

  it('takes what is no sound for none', async () => {
    const whole = tone(1_000, { rate: 16_000, channels: 1, bits: 16 });
    for (const bytes of [
      Buffer.alloc(0),
      Buffer.from('ID3 and more'),
      whole.subarray(0, 44),
      whole.subarray(0, 20),
    ])
      expect(await engineSound(bytes, 60_000)).toBeNull();
    const odd = Buffer.from(whole);
    odd.writeUInt16LE(12, 34);
    expect(await engineSound(odd, 60_000)).toBeNull();
  });
});
