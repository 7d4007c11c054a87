// How long a bare stream of MP3 or AAC frames sounds: each frame is looked at, since what a header says of the whole may be
// wrong, or a lie that makes long audio cheap. So may its beginning be, which decoders pass over: frames of both kinds are
// counted, and what lasts longer counts.
import { markedSound } from './sound.ts';

/** How many bytes a frame has, its own header included, and what it adds. */
interface Frame {
  bytes: number;
  samples: number;
  rate: number;
}

const HEADER_BYTES = 7;
/** So many tell a tag, or what stands behind it. */
const BEGIN_BYTES = 16;

type Kind = 'audio/mpeg' | 'audio/aac';

export class FramesWalk {
  readonly #walks: readonly KindWalk[];

  /** @param contentType what it begins like, whose rate is told */
  constructor(contentType: Kind) {
    const other = contentType === 'audio/mpeg' ? 'audio/aac' : 'audio/mpeg';
    this.#walks = [contentType, other].map((kind) => new KindWalk(kind as Kind));
  }

  push(chunk: Buffer): void {
    for (const walk of this.#walks) walk.push(chunk);
  }

  /** In whole milliseconds, rounded up; null without a single frame, or where a tag hides something else. */
  sound(): { durationMs: number | null; sampleRate: number | null } {
    const [own, other] = this.#walks as [KindWalk, KindWalk];
    const seconds = own.hidden ? 0 : Math.max(own.seconds, other.seconds);
    return {
      durationMs: seconds > 0 ? Math.ceil(seconds * 1000) : null,
      sampleRate: own.rate ?? other.rate,
    };
  }
}

class KindWalk {
  seconds = 0;
  rate: number | null = null;
  /** Behind its tag stands what decoders take for another form: how long that lasts, its frames do not tell. */
  hidden = false;
  readonly #frameAt: (bytes: Buffer, at: number) => Frame | null;
  /** What is left of the chunks so far. */
  #rest: Buffer = Buffer.alloc(0);
  /** Bytes of a frame, or of a tag, that are still to come. */
  #skip = 0;
  #begun = false;

  constructor(contentType: Kind) {
    this.#frameAt = contentType === 'audio/mpeg' ? mpegFrame : aacFrame;
  }

  push(chunk: Buffer): void {
    const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    let at = 0;
    for (;;) {
      const step = Math.min(this.#skip, bytes.length - at);
      at += step;
      this.#skip -= step;
      if (at + (this.#begun ? HEADER_BYTES : BEGIN_BYTES) > bytes.length) break;
      if (!this.#begun) {
        // There may be several, one behind the other.
        this.#skip = tagBytes(bytes, at);
        if (this.#skip > 0) continue;
        this.#begun = true;
        this.hidden = markedSound(bytes.subarray(at, at + BEGIN_BYTES)) !== null;
      }
      const frame = this.#frameAt(bytes, at);
      // What is no frame is passed over byte by byte, as players do.
      this.#skip = frame?.bytes ?? 1;
      if (!frame) continue;
      this.seconds += frame.samples / frame.rate;
      this.rate ??= frame.rate;
    }
    // A copy: the chunk may be a large one.
    this.#rest = Buffer.from(bytes.subarray(at));
  }
}

/** An ID3 tag before the first frame may hold pictures, and so anything. */
function tagBytes(bytes: Buffer, from: number): number {
  if (bytes.toString('latin1', from, from + 3) !== 'ID3') return 0;
  const size = [6, 7, 8, 9].reduce((sum, at) => sum * 128 + ((bytes[from + at] as number) & 0x7f), 0);
  return 10 + size;
}

/** Kilobits a second by layer, for MPEG 1 and for the later ones. */
const KBITS: Record<'1' | '2', Record<number, readonly number[]>> = {
  1: {
    1: [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    2: [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    3: [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  },
  2: {
    1: [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    2: [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    3: [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
  },
};
const MPEG_RATES = [44_100, 48_000, 32_000];

function mpegFrame(bytes: Buffer, at: number): Frame | null {
  const [second, third] = [bytes[at + 1] as number, bytes[at + 2] as number];
  if (bytes[at] !== 0xff || (second & 0xe0) !== 0xe0) return null;
  const version = (second >> 3) & 3;
  const layer = 4 - ((second >> 1) & 3);
  const base = MPEG_RATES[(third >> 2) & 3];
  if (version === 1 || layer === 4 || base === undefined) return null;
  const kbits = KBITS[version === 3 ? '1' : '2'][layer]?.[(third >> 4) - 1];
  if (kbits === undefined) return null;
  const rate = base / (version === 3 ? 1 : version === 2 ? 2 : 4);
  const samples = layer === 1 ? 384 : layer === 3 && version !== 3 ? 576 : 1152;
  const padding = (third >> 1) & 1;
  const unit = layer === 1 ? 4 : 1;
  const size = (Math.floor((samples * kbits * 125) / rate / unit) + padding) * unit;
  return size > 4 ? { bytes: size, samples, rate } : null;
}

const AAC_RATES = [96, 88.2, 64, 48, 44.1, 32, 24, 22.05, 16, 12, 11.025, 8, 7.35].map((khz) => khz * 1000);

function aacFrame(bytes: Buffer, at: number): Frame | null {
  if (bytes[at] !== 0xff || ((bytes[at + 1] as number) & 0xf6) !== 0xf0) return null;
  const rate = AAC_RATES[((bytes[at + 2] as number) >> 2) & 15];
  const size = (bytes.readUIntBE(at + 3, 3) >> 5) & 0x1fff;
  if (rate === undefined || size < HEADER_BYTES) return null;
  return { bytes: size, samples: 1024 * (((bytes[at + 6] as number) & 3) + 1), rate };
}
