// What an image is, by its own bytes: nobody's word for its type or its sides is taken.

export interface Picture {
  contentType: 'image/png' | 'image/jpeg' | 'image/webp';
  width: number;
  height: number;
}

/** @param bytes the image, or its beginning. @returns null where they begin no PNG, JPEG or WebP with a header that is whole */
export function pictureOf(bytes: Buffer): Picture | null {
  const found = png(bytes) ?? jpeg(bytes) ?? webp(bytes);
  return found && isSide(found.width) && isSide(found.height) ? found : null;
}

/** PNG allows no more either, and a column of the artifact's row holds no more. */
const MOST_SIDE = 2_147_483_647;

const isSide = (pixels: number): boolean => pixels > 0 && pixels <= MOST_SIDE;

/** Whether an image ends as its type has to: what was cut off on the way does not. */
export function isWhole(bytes: Buffer, { contentType }: Picture): boolean {
  switch (contentType) {
    case 'image/png':
      return bytes.includes('IEND', bytes.length > 4_096 ? -4_096 : 0, 'latin1');
    case 'image/jpeg':
      return bytes.lastIndexOf(JPEG_END) > 0;
    case 'image/webp':
      return bytes.readUInt32LE(4) + 8 <= bytes.length;
  }
}

/** What some models make of moving images; nothing that is edited. */
export function gifOf(bytes: Buffer): { contentType: 'image/gif'; width: number; height: number } | null {
  if (bytes.length < 13 || !/^GIF8[79]a$/.test(bytes.toString('latin1', 0, 6))) return null;
  const [width, height] = [bytes.readUInt16LE(6), bytes.readUInt16LE(8)];
  return width > 0 && height > 0 ? { contentType: 'image/gif', width, height } : null;
}

const PNG_START = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const JPEG_END = Buffer.from([0xff, 0xd9]);

function png(bytes: Buffer): Picture | null {
  if (bytes.length < 33 || !bytes.subarray(0, 8).equals(PNG_START)) return null;
  if (bytes.toString('latin1', 12, 16) !== 'IHDR') return null;
  return { contentType: 'image/png', width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) };
}

/** The sides stand in the start-of-frame segment, behind any number of others. */
function jpeg(bytes: Buffer): Picture | null {
  if (bytes.length < 4 || bytes[0] !== 0xff || bytes[1] !== 0xd8) return null;
  for (let at = 2; at + 9 <= bytes.length;) {
    const marker = bytes[at + 1] as number;
    if (bytes[at] !== 0xff) return null;
    // Any number of fill bytes may stand before a marker.
    if (marker === 0xff) {
      at++;
      continue;
    }
    // C4, C8 and CC lie among the frame markers and are none.
    if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc)
      return {
        contentType: 'image/jpeg',
        width: bytes.readUInt16BE(at + 7),
        height: bytes.readUInt16BE(at + 5),
      };
    const size = bytes.readUInt16BE(at + 2);
    if (size < 2 || marker === 0xd9 || marker === 0xda) return null;
    at += 2 + size;
  }
  return null;
}

/** Three forms: lossy, lossless, and extended, which says its canvas. */
function webp(bytes: Buffer): Picture | null {
  if (bytes.length < 30 || bytes.toString('latin1', 0, 4) !== 'RIFF') return null;
  if (bytes.toString('latin1', 8, 12) !== 'WEBP') return null;
  const contentType = 'image/webp';
  switch (bytes.toString('latin1', 12, 16)) {
    case 'VP8 ':
      if (bytes.readUIntBE(23, 3) !== 0x9d012a) return null;
      return {
        contentType,
        width: bytes.readUInt16LE(26) & 0x3fff,
        height: bytes.readUInt16LE(28) & 0x3fff,
      };
    case 'VP8L': {
      if (bytes[20] !== 0x2f) return null;
      const sides = bytes.readUInt32LE(21);
      return { contentType, width: (sides & 0x3fff) + 1, height: ((sides >>> 14) & 0x3fff) + 1 };
    }
    case 'VP8X':
      return { contentType, width: bytes.readUIntLE(24, 3) + 1, height: bytes.readUIntLE(27, 3) + 1 };
    default:
      return null;
  }
}
