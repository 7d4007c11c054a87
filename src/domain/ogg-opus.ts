// How long Opus in Ogg lasts, packet by packet: the last page's position, which players show, may be anything.
import { opusMs } from './opus.ts';

const PAGE_HEAD_BYTES = 27;

export class OggOpusWalk {
  #rest: Buffer = Buffer.alloc(0);
  /** By serial number, of each stream that began with an Opus header: whether its last packet goes on in its next page. */
  readonly #open = new Map<number, boolean>();
  /** Something that is no Opus sounds, too. */
  #other = false;
  #rate: number | null = null;
  #ms = 0;

  push(chunk: Buffer): void {
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

  /** Null where it does not hold Opus alone. */
  sound(): { durationMs: number | null; sampleRate: number | null } {
    return { durationMs: this.#ms > 0 && !this.#other ? Math.ceil(this.#ms) : null, sampleRate: this.#rate };
  }

  #page(page: Buffer): void {
    const serial = page.readUInt32LE(14);
    const sizes = page.subarray(PAGE_HEAD_BYTES, PAGE_HEAD_BYTES + (page[26] as number));
    let at = PAGE_HEAD_BYTES + sizes.length;
    const begins = ((page[5] as number) & 2) !== 0;
    if (begins && page.toString('latin1', at, at + 8) === 'OpusHead' && at + 16 <= page.length) {
      this.#open.set(serial, false);
      this.#rate ??= page.readUInt32LE(at + 12) || 48_000;
    } else if (begins) this.#other = true;
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
