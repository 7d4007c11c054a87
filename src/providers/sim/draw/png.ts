// A PNG file out of pixels: the smallest encoder that makes true colour.
import { promisify } from 'node:util';
import { constants, crc32, deflate } from 'node:zlib';

/** 8 bits each of red, green and blue, row by row from the top. */
export interface Picture {
  width: number;
  height: number;
  rgb: Buffer;
}

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
/** Each row says how it was filtered; 2 = as the difference to the row above, which suits skies. */
const UP = 2;

const compress = promisify(deflate);

/** The file's bytes. The compression runs beside the event loop. */
export async function pngFile({ width, height, rgb }: Picture): Promise<Buffer> {
  const stride = width * 3;
  const filtered = Buffer.allocUnsafe((stride + 1) * height);
  for (let y = 0, from = 0, to = 0; y < height; y++) {
    filtered[to++] = UP;
    for (let i = 0; i < stride; i++, from++) filtered[to++] = rgb[from]! - (y > 0 ? rgb[from - stride]! : 0);
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.writeUInt8(8, 8);
  header.writeUInt8(2, 9);
  const packed = await compress(filtered, { level: 1, strategy: constants.Z_DEFAULT_STRATEGY });
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', header),
    chunk('IDAT', packed),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

function chunk(name: string, data: Buffer): Buffer {
  const framed = Buffer.allocUnsafe(data.length + 12);
  framed.writeUInt32BE(data.length, 0);
  framed.write(name, 4, 'latin1');
  data.copy(framed, 8);
  framed.writeUInt32BE(crc32(framed.subarray(4, data.length + 8)), data.length + 8);
  return framed;
}
