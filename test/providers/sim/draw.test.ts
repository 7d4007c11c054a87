import { crc32, inflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { landscape } from '../../../src/providers/sim/draw/landscape.ts';
import { pngFile } from '../../../src/providers/sim/draw/png.ts';

/** A reader of its own, by the specification: checks every CRC and undoes the filter `up`. */
function pixelsOf(file: Buffer): { width: number; height: number; rgb: Buffer } {
  expect(file.subarray(0, 8).toString('hex')).toBe('89504e470d0a1a0a');
  const chunks = new Map<string, Buffer>();
  for (let at = 8; at < file.length;) {
    const length = file.readUInt32BE(at);
    expect(file.readUInt32BE(at + 8 + length)).toBe(crc32(file.subarray(at + 4, at + 8 + length)));
    chunks.set(file.toString('latin1', at + 4, at + 8), file.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  expect([...chunks.keys()]).toEqual(['IHDR', 'IDAT', 'IEND']);
  const header = chunks.get('IHDR')!;
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)];
  expect([...header.subarray(8)]).toEqual([8, 2, 0, 0, 0]);
  const rows = inflateSync(chunks.get('IDAT')!);
  const stride = width * 3;
  expect(rows.length).toBe((stride + 1) * height);
  const rgb = Buffer.alloc(stride * height);
  for (let y = 0; y < height; y++) {
    expect(rows[y * (stride + 1)]).toBe(2);
    for (let i = 0; i < stride; i++)
      rgb[y * stride + i] = rows[y * (stride + 1) + 1 + i]! + (y > 0 ? rgb[(y - 1) * stride + i]! : 0);
  }
  return { width, height, rgb };
}

const view = { prompt: 'a mill at dawn', seed: 7, width: 96, height: 64 };

const top = (prompt: string) => landscape({ ...view, prompt }).rgb.subarray(0, 3);

describe('a drawn picture', () => {
  it.each([
    [64, 64],
    [512, 512],
    [1024, 65],
    [77, 1000],
  ])('is a PNG of %dx%d with the pixels that were drawn', async (width, height) => {
    const picture = landscape({ ...view, width, height });
    expect(pixelsOf(await pngFile(picture))).toEqual({ width, height, rgb: picture.rgb });
  });

  it('is the same for the same prompt and seed, and another for another', () => {
    const { rgb } = landscape(view);
    expect(landscape(view).rgb.equals(rgb)).toBe(true);
    expect(landscape({ ...view, seed: 8 }).rgb.equals(rgb)).toBe(false);
    expect(landscape({ ...view, prompt: 'a mill at dawn.' }).rgb.equals(rgb)).toBe(false);
  });

  it('shows something: a bright light, dark hills, many colours', () => {
    const { rgb } = landscape({ ...view, width: 256, height: 256 });
    const colours = new Set(Array.from({ length: 256 * 256 }, (_, i) => rgb.readUIntBE(i * 3, 3)));
    expect(colours.size).toBeGreaterThan(200);
    const light = Array.from(
      { length: 256 * 256 },
      (_, i) => rgb[i * 3]! + rgb[i * 3 + 1]! + rgb[i * 3 + 2]!,
    );
    expect(Math.max(...light)).toBeGreaterThan(600);
    expect(Math.min(...light)).toBeLessThan(150);
  });

  it('obeys an hour that the prompt names', () => {
    expect([...top('the mill by night')]).toEqual([8, 12, 34]);
    expect([...top('a day in summer')]).toEqual([70, 140, 210]);
  });
});
