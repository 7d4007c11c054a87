// How long a bare stream of MP3 or AAC frames sounds: each frame is looked at, since what a header says of the whole may be
// wrong, or a lie that makes long audio cheap.

/** How many bytes a frame has, its own header included, and what it adds. */
interface Frame {
  bytes: number;
  samples: number;
  rate: number;
}

const HEADER_BYTES = 7;

export class FrameWalk {
  readonly #frameAt: (bytes: Buffer, at: number) => Frame | null;
  /** What is left of the chunks so far. */
  #rest: Buffer = Buffer.alloc(0);
  /** Bytes of a frame, or of a tag, that are still to come. */
  #skip = 0;
  #begun = false;
  #seconds = 0;
  #rate: number | null = null;

  constructor(contentType: 'audio/mpeg' | 'audio/aac') {
    this.#frameAt = contentType === 'audio/mpeg' ? mpegFrame : aacFrame;
  }

  push(chunk: Buffer): void {
    let bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    if (!this.#begun) {
      if (bytes.length < 10) {
        this.#rest = bytes;
        return;
      }
      this.#begun = true;
      this.#skip = tagBytes(bytes);
    }
    let at = 0;
    for (;;) {
      const step = Math.min(this.#skip, bytes.length - at);
      at += step;
      this.#skip -= step;
      if (at + HEADER_BYTES > bytes.length) break;
      const frame = this.#frameAt(bytes, at);
      // What is no frame is passed over byte by byte, as players do.
      this.#skip = frame?.bytes ?? 1;
      if (!frame) continue;
      this.#seconds += frame.samples / frame.rate;
      this.#rate ??= frame.rate;
    }
    // A copy: the chunk may be a large one.
    this.#rest = Buffer.from(bytes.subarray(at));
  }

  /** In whole milliseconds, rounded up; null without a single frame. */
  sound(): { durationMs: number | null; sampleRate: number | null } {
    return {
      durationMs: this.#rate === null ? null : Math.ceil(this.#seconds * 1000),
      sampleRate: this.#rate,
    };
  }
}

/** An ID3 tag before the first frame may hold pictures, and so anything. */
function tagBytes(bytes: Buffer): number {
  if (bytes.toString('latin1', 0, 3) !== 'ID3') return 0;
  const size = [6, 7, 8, 9].reduce((sum, at) => sum * 128 + ((bytes[at] as number) & 0x7f), 0);
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
