// What files are, from their first bytes: a vendor's headers and names say little.
import { wavFormat } from '../../domain/wav.ts';

export interface Picture {
  contentType: string;
  width: number;
  height: number;
}

/** Null: no PNG, JPEG, WebP or GIF that says how large it is. */
export function pictureOf(bytes: Buffer): Picture | null {
  const found = png(bytes) ?? jpeg(bytes) ?? webp(bytes) ?? gif(bytes);
  return found && found.width > 0 && found.height > 0 ? found : null;
}

function png(bytes: Buffer): Picture | null {
  if (bytes.length < 33 || bytes.toString('latin1', 0, 8) !== '\x89PNG\r\n\x1a\n') return null;
  return { contentType: 'image/png', width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) };
}

function gif(bytes: Buffer): Picture | null {
  if (bytes.length < 13 || !/^GIF8[79]a$/.test(bytes.toString('latin1', 0, 6))) return null;
  return { contentType: 'image/gif', width: bytes.readUInt16LE(6), height: bytes.readUInt16LE(8) };
}

/** The size stands in the frame header, behind segments that say their own length. */
function jpeg(bytes: Buffer): Picture | null {
  if (bytes.length < 4 || bytes.readUInt16BE(0) !== 0xffd8) return null;
  for (let at = 2; at + 9 <= bytes.length;) {
    const marker = bytes[at + 1] as number;
    if (bytes[at] !== 0xff) return null;
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame)
      return {
        contentType: 'image/jpeg',
        width: bytes.readUInt16BE(at + 7),
        height: bytes.readUInt16BE(at + 5),
      };
    at += marker === 0xff ? 1 : 2 + bytes.readUInt16BE(at + 2);
  }
  return null;
}

function webp(bytes: Buffer): Picture | null {
  if (bytes.length < 30 || !/^RIFF....WEBPVP8[ LX]$/s.test(bytes.toString('latin1', 0, 16))) return null;
  const contentType = 'image/webp';
  switch (bytes.toString('latin1', 12, 16)) {
    case 'VP8X':
      return { contentType, width: bytes.readUIntLE(24, 3) + 1, height: bytes.readUIntLE(27, 3) + 1 };
    case 'VP8L': {
      const bits = bytes.readUInt32LE(21);
      return { contentType, width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
    }
    default:
      return { contentType, width: bytes.readUInt16LE(26) & 0x3fff, height: bytes.readUInt16LE(28) & 0x3fff };
  }
}

export interface Sound {
  contentType: string;
  /** Null where the first bytes do not tell. */
  durationMs: number | null;
  sampleRate: number | null;
}

/** By media type: how such a file begins. */
const SOUNDS: [contentType: string, begins: RegExp][] = [
  ['audio/wav', /^RIFF....WAVE/s],
  ['audio/mpeg', /^(ID3|\xff[\xe2-\xff])/],
  ['audio/ogg', /^OggS/],
  ['audio/flac', /^fLaC/],
  ['audio/mp4', /^....ftyp/s],
];

/** Null: nothing that is known as sound. */
export function soundOf(bytes: Buffer): Sound | null {
  const start = bytes.toString('latin1', 0, 12);
  const contentType = SOUNDS.find(([, begins]) => begins.test(start))?.[0];
  if (contentType === undefined) return null;
  const wave = contentType === 'audio/wav' ? wavFormat(bytes) : null;
  if (contentType === 'audio/wav' && !wave) return null;
  const durationMs = wave && Math.floor((wave.dataBytes * 1000) / wave.bytesPerSecond);
  return { contentType, durationMs, sampleRate: wave && wave.sampleRate };
}
