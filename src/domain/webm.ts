// How long the sound in a WebM lasts, by its blocks: a browser's recorder writes no length at all, and what is written may
// be a lie.
import { opusMs } from './opus.ts';

const ID = {
  segment: 0x18538067,
  timestampScale: 0x2ad7b1,
  info: 0x1549a966,
  tracks: 0x1654ae6b,
  trackEntry: 0xae,
  trackNumber: 0xd7,
  trackType: 0x83,
  codec: 0x86,
  audio: 0xe1,
  samplingFrequency: 0xb5,
  cluster: 0x1f43b675,
  timestamp: 0xe7,
  blockGroup: 0xa0,
  block: 0xa1,
  simpleBlock: 0xa3,
} as const;
/** Entered, whatever their size: what stands in them is known by its own name. */
const WITHIN = new Set<number>([
  ID.segment,
  ID.info,
  ID.tracks,
  ID.trackEntry,
  ID.audio,
  ID.cluster,
  ID.blockGroup,
]);
const WORDS = new Set<number>([
  ID.timestampScale,
  ID.trackNumber,
  ID.trackType,
  ID.codec,
  ID.samplingFrequency,
  ID.timestamp,
]);
const AUDIO = 2;
/** A header of two bytes begins one: a file of nothing else would fill the memory, and each block would look through them all. */
const MOST_TRACKS = 64;
/** A track's number, a time, flags, and the beginning of the first frame. */
const BLOCK_HEAD_BYTES = 14;
/** The longest words of interest: a codec's name. */
const WORD_BYTES = 64;

interface Track {
  number: number;
  type: number;
  codec: string;
  rate: number | null;
}

interface Element {
  id: number;
  /** Infinity: not known, as of what is still being recorded. */
  size: number;
  headBytes: number;
}

export class WebmWalk {
  #rest: Buffer = Buffer.alloc(0);
  #skip = 0;
  #broken = false;
  /** Ms of a unit of time. */
  #scaleMs = 1;
  #clusterAt = 0;
  readonly #tracks: Track[] = [];
  #endMs = 0;
  #opusMs = 0;
  #soundBytes = 0;

  push(chunk: Buffer): void {
    if (this.#broken) return;
    const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    let at = 0;
    while (!this.#broken) {
      const step = Math.min(this.#skip, bytes.length - at);
      at += step;
      this.#skip -= step;
      if (this.#skip > 0 || !this.#read(bytes, at)) break;
    }
    this.#rest = Buffer.from(bytes.subarray(at));
  }

  /** Null where there is no sound, or fewer milliseconds of it than so many bytes can be. */
  sound(): { durationMs: number | null; sampleRate: number | null } {
    const ms = Math.ceil(Math.max(this.#endMs, this.#opusMs));
    const plausible = ms > 0 && !this.#broken && this.#soundBytes / ms < MOST_BYTES_A_MS;
    const track = this.#tracks.find(({ type }) => type === AUDIO);
    return { durationMs: plausible ? ms : null, sampleRate: track?.rate ?? null };
  }

  /** False: more bytes are needed. */
  #read(bytes: Buffer, at: number): boolean {
    const element = elementAt(bytes, at);
    if (element === 'more') return false;
    if (element === 'broken') return (this.#broken = true);
    const { id, size, headBytes } = element;
    const from = at + headBytes;
    if (WITHIN.has(id)) {
      if (id === ID.trackEntry) {
        if (this.#tracks.length === MOST_TRACKS) return (this.#broken = true);
        this.#tracks.push({ number: 0, type: 0, codec: '', rate: null });
      }
      this.#skip = headBytes;
      return true;
    }
    if (size === Infinity) return (this.#broken = true);
    const needed = WORDS.has(id)
      ? Math.min(size, WORD_BYTES)
      : id === ID.block || id === ID.simpleBlock
        ? Math.min(size, BLOCK_HEAD_BYTES)
        : 0;
    if (from + needed > bytes.length) return false;
    const value = bytes.subarray(from, from + needed);
    if (WORDS.has(id)) this.#word(id, value);
    else if (needed > 0) this.#block(value, size);
    this.#skip = headBytes + size;
    return true;
  }

  #word(id: number, value: Buffer): void {
    const track = this.#tracks.at(-1);
    if (id === ID.timestampScale) this.#scaleMs = numberOf(value) / 1_000_000;
    else if (id === ID.timestamp) this.#clusterAt = numberOf(value);
    else if (!track) return;
    else if (id === ID.trackNumber) track.number = numberOf(value);
    else if (id === ID.trackType) track.type = numberOf(value);
    else if (id === ID.codec) track.codec = value.toString('latin1');
    else if (id === ID.samplingFrequency) track.rate = Math.round(floatOf(value)) || null;
  }

  #block(head: Buffer, size: number): void {
    const length = head.length > 0 ? Math.clz32(head[0] as number) - 23 : 9;
    if (length > 8 || head.length < length + 3) return;
    const number = vint(head, 0, length);
    const track = this.#tracks.find((one) => one.number === number);
    if (track?.type !== AUDIO) return;
    const flags = head[length + 2] as number;
    const laced = (flags & 0x06) !== 0;
    const frames = laced ? (head[length + 3] ?? 0) + 1 : 1;
    // Of laced frames the sizes come first, and then frames of a kind; they are not looked for.
    const each = track.codec === 'A_OPUS' && !laced ? opusMs(head.subarray(length + 3)) : LONGEST_FRAME_MS;
    this.#soundBytes += size;
    if (track.codec === 'A_OPUS') this.#opusMs += each * frames;
    const ms = (this.#clusterAt + head.readInt16BE(length)) * this.#scaleMs;
    this.#endMs = Math.max(this.#endMs, ms + each * frames);
  }
}

/** Of Opus; of Vorbis they are as long at most in practice. */
const LONGEST_FRAME_MS = 120;
const MOST_BYTES_A_MS = 200;

function elementAt(bytes: Buffer, at: number): Element | 'more' | 'broken' {
  if (at + 2 > bytes.length) return 'more';
  const idBytes = Math.clz32(bytes[at] as number) - 23;
  if (idBytes > 4) return 'broken';
  if (at + idBytes >= bytes.length) return 'more';
  const sizeBytes = Math.clz32(bytes[at + idBytes] as number) - 23;
  if (sizeBytes > 8) return 'broken';
  const headBytes = idBytes + sizeBytes;
  if (at + headBytes > bytes.length) return 'more';
  const size = vint(bytes, at + idBytes, sizeBytes);
  // All bits set means that nobody knows.
  const unknown = size === 2 ** (7 * sizeBytes) - 1 || size > Number.MAX_SAFE_INTEGER / 2;
  return { id: bytes.readUIntBE(at, idBytes), size: unknown ? Infinity : size, headBytes };
}

/** A number of up to 8 bytes whose first set bit tells how many. */
function vint(bytes: Buffer, at: number, length: number): number {
  let value = (bytes[at] as number) & (0xff >> length);
  for (let i = 1; i < length; i++) value = value * 256 + (bytes[at + i] as number);
  return value;
}

const numberOf = (value: Buffer): number => value.reduce((sum, byte) => sum * 256 + byte, 0);

const floatOf = (value: Buffer): number =>
  value.length === 4 ? value.readFloatBE() : value.length === 8 ? value.readDoubleBE() : NaN;
