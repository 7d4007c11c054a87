// What the Replicate-like server keeps to be fetched, by name; some of it is bad.
import { pngFile } from '../../src/providers/sim/draw/png.ts';

interface Drawn {
  status: number;
  headers: Record<string, string>;
  bytes: Buffer;
}

const ok = (type: string, bytes: Buffer): Drawn => ({
  status: 200,
  headers: { 'content-type': type },
  bytes,
});

/** @param nth the how-manieth time it is fetched, from 1 @returns null: there is no such file */
export async function draw(name: string, nth: number): Promise<Drawn | null> {
  switch (name) {
    case 'mill.png':
      return ok('image/png', await pngFile({ width: 64, height: 48, rgb: Buffer.alloc(64 * 48 * 3, 90) }));
    case 'mill.wav':
      return ok('audio/wav', tone(16_000, 0.5));
    case 'speech.mp3':
      return ok(
        'audio/mpeg',
        Buffer.concat([Buffer.from('ID3\x04\0\0\0\0\0\0', 'latin1'), Buffer.alloc(400, 1)]),
      );
    case 'text.png':
      return ok('image/png', Buffer.from('<html>no picture</html>'));
    case 'huge.png':
      return ok('image/png', Buffer.alloc((64 << 20) + 1));
    case 'moved.png':
      return { status: 302, headers: { location: '/files/mill.png' }, bytes: Buffer.alloc(0) };
    case 'late.png':
      return nth < 3 ? { status: 503, headers: {}, bytes: Buffer.alloc(0) } : draw('mill.png', nth);
    default:
      return null;
  }
}

/** Seconds of silence as WAV, 16 bits and one channel. */
export function tone(rate: number, seconds: number): Buffer {
  const data = Buffer.alloc(rate * seconds * 2);
  const head = Buffer.alloc(44);
  head.write('RIFF', 0, 'latin1');
  head.writeUInt32LE(36 + data.length, 4);
  head.write('WAVEfmt ', 8, 'latin1');
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(rate, 24);
  head.writeUInt32LE(rate * 2, 28);
  head.writeUInt16LE(2, 32);
  head.writeUInt16LE(16, 34);
  head.write('data', 36, 'latin1');
  head.writeUInt32LE(data.length, 40);
  return Buffer.concat([head, data]);
}
