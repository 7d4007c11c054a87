import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { gifOf, isWhole, type Picture, pictureOf } from '../../src/domain/picture.ts';
import { pngFile } from '../../src/providers/sim/draw/png.ts';

const file = (name: string): Buffer => readFileSync(join(import.meta.dirname, 'media', name));
const png = await pngFile({ width: 48, height: 32, rgb: Buffer.alloc(48 * 32 * 3) });
/** The extended form: a header that says the canvas, then the picture itself. */
const extended = (() => {
  const [head, body] = [Buffer.alloc(30), file('lossy.webp').subarray(12)];
  head.write('RIFF', 0, 'latin1');
  head.writeUInt32LE(22 + body.length, 4);
  head.write('WEBPVP8X', 8, 'latin1');
  head.writeUInt32LE(10, 16);
  head.writeUIntLE(47, 24, 3);
  head.writeUIntLE(31, 27, 3);
  return Buffer.concat([head, body]);
})();
const PICTURES: [string, Picture['contentType'], Buffer][] = [
  ['a PNG', 'image/png', png],
  ['a JPEG', 'image/jpeg', file('red.jpg')],
  ['a lossy WebP', 'image/webp', file('lossy.webp')],
  ['a lossless WebP', 'image/webp', file('lossless.webp')],
  ['an extended WebP', 'image/webp', extended],
];

describe.each(PICTURES)('%s', (_, contentType, bytes) => {
  it('says what it is and how large', () => {
    const picture = { contentType, width: 48, height: 32 };
    expect(pictureOf(bytes)).toEqual(picture);
    expect(isWhole(bytes, picture)).toBe(true);
    expect(isWhole(bytes.subarray(0, bytes.length - 14), picture)).toBe(false);
  });

  it('cut off anywhere is either nothing or of the same size, and no fault', () => {
    for (let length = 0; length < Math.min(bytes.length, 400); length++) {
      const picture = pictureOf(bytes.subarray(0, length));
      if (picture) expect(picture).toEqual({ contentType, width: 48, height: 32 });
    }
  });
});

it('is no picture without a side, or with one that no PNG may have, and a text is none', () => {
  for (const side of [0, 2 ** 31, 2 ** 32 - 1]) {
    const wrong = Buffer.from(png);
    wrong.writeUInt32BE(side, 16);
    expect(pictureOf(wrong)).toBeNull();
  }
  expect(pictureOf(Buffer.from('<svg width="9" height="9"></svg>'.repeat(9)))).toBeNull();
});

it('a GIF says how large it is, too, and is not taken for what can be edited', () => {
  const gif = Buffer.from('474946383961400030008000000000', 'hex');
  expect(gifOf(gif)).toEqual({ contentType: 'image/gif', width: 64, height: 48 });
  expect(pictureOf(gif)).toBeNull();
  expect(gifOf(Buffer.from('GIF89a'))).toBeNull();
  expect(gifOf(png)).toBeNull();
});
