// How long Ogg lasts: Opus packet by packet, since the last page's position, which players show, may be anything. Of Vorbis,
// whose packets do not tell without its whole decoder, the positions are believed if there may be so many bytes.
import { opusMs } from './opus.ts';

const PAGE_HEAD_BYTES = 27;
const MOST_BYTES_A_MS = 200;
/** Recordings of radio begin a stream for each song; whoever has more wants nothing but our memory. */
const MOST_STREAMS = 1_000;

export class OggWalk {
  #rest: Buffer = Buffer.alloc(0);
  /** By serial number, of each stream that began with an Opus header: whether its last packet goes on in its next page. */
  readonly #open = new Map<number, boolean>();
  /** By serial number, of each stream of Vorbis: its samples a second, and the last of them that a page named. */
  readonly #vorbis = new Map<number, { rate: number; last: number }>();
  /** Something that is neither. */
  #other = false;
  #bytes = 0;
  #rate: number | null = null;
  #ms = 0;

  push(chunk: Buffer): void {
    this.#bytes += chunk.length;
    const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    let at = 0;
    for (;;) {
      at = bytes.indexOf('OggS', at, 'latin1');
      if (at < 0) {
        this.#rest = Buffer.from(bytes.subarray(Math.max(0, bytes.length - 3)));
        return;
      }
      const end = pageEnd(bytes, at);
      if (end > bytes.length) break;
      this.#page(bytes.subarray(at, end));
      at = end;
    }
    this.#rest = Buffer.from(bytes.subarray(at));
  }

  /** Null where it holds anything else. */
  sound(): { durationMs: number | null; sampleRate: number | null } {
    const vorbisMs = [...this.#vorbis.values()].reduce(
      (sum, { rate, last }) => sum + (last / rate) * 1000,
      0,
    );
    const ms = this.#ms + vorbisMs;
    const plausible =
      ms > 0 && !this.#other && (this.#vorbis.size === 0 || this.#bytes / ms < MOST_BYTES_A_MS);
    return { durationMs: plausible ? Math.ceil(ms) : null, sampleRate: this.#rate };
  }

  #page(page: Buffer): void {
    const serial = page.readUInt32LE(14);
    const sizes = page.subarray(PAGE_HEAD_BYTES, PAGE_HEAD_BYTES + (page[26] as number));
    let at = PAGE_HEAD_BYTES + sizes.length;
    const begins = ((page[5] as number) & 2) !== 0;
    if (begins && this.#open.size + this.#vorbis.size >= MOST_STREAMS) this.#other = true;
    else if (begins && page.toString('latin1', at, at + 8) === 'OpusHead' && at + 16 <= page.length) {
      this.#open.set(serial, false);
      this.#rate ??= page.readUInt32LE(at + 12) || 48_000;
    } else if (begins && page.toString('latin1', at, at + 7) === '\x01vorbis' && at + 16 <= page.length) {
      const rate = page.readUInt32LE(at + 12);
      if (rate > 0) this.#vorbis.set(serial, { rate, last: 0 });
      this.#rate ??= rate;
    } else if (begins) this.#other = true;
    const vorbis = this.#vorbis.get(serial);
    // All bits set: no packet ends in this page.
    const position = Number(page.readBigInt64LE(6));
    if (vorbis && position > vorbis.last) vorbis.last = position;
    let open = this.#open.get(serial);
    if (open === undefined) return;
    for (const size of sizes) {
      // The two headers begin with the codec's name, which no sound does.
      if (!open && size > 0 && page.toString('latin1', at, at + 4) !== 'Opus')
        this.#ms += opusMs(page.subarray(at, at + Math.min(size, 2)));
      open = size === 255;
      at += size;
    }
    this.#open.set(serial, open);
  }
}

/** Where a page ends, or a place behind what there is. */
function pageEnd(bytes: Buffer, at: number): number {
  const sizesAt = at + PAGE_HEAD_BYTES;
  if (sizesAt > bytes.length) return Infinity;
  const count = bytes[at + 26] as number;
  if (sizesAt + count > bytes.length) return Infinity;
  return bytes.subarray(sizesAt, sizesAt + count).reduce((sum, size) => sum + size, sizesAt + count);
}
