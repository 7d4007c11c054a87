// How long the sound in an MP4 lasts, by its tables of samples: what it says of its length may be a lie, and so may the length
// of a sample, so that AAC is counted, too.
import { Steps } from './steps.ts';

/** Entered: what stands in them is known by its own name. */
const WITHIN = new Set(['moov', 'trak', 'mdia', 'minf', 'stbl', 'moof', 'traf']);
/** How much of a box's content is looked at. */
const LOOKED_AT: Record<string, number> = {
  tkhd: 24,
  mdhd: 24,
  hdlr: 12,
  stsd: 512,
  stts: 8,
  stsz: 12,
  stz2: 12,
  tfhd: 8,
  trun: 8,
};
/** A header of eight bytes begins one: a file of nothing else would fill the memory, and each fragment would look through them all. */
const MOST_TRACKS = 64;
const AAC_SAMPLES = 1024;
const AAC_RATES = [96, 88.2, 64, 48, 44.1, 32, 24, 22.05, 16, 12, 11.025, 8, 7.35].map((khz) => khz * 1000);

interface Track {
  id: number;
  isSound: boolean;
  /** Units of its time in a second. */
  scale: number;
  isAac: boolean;
  rate: number;
  /** Of its tables, and of fragments, whose units are not looked at. */
  samples: number;
  /** Of its table of sizes, by which players find them, whatever its table of times says. */
  sized: number;
  fragmented: number;
  units: number;
}

export class Mp4Walk {
  readonly #steps = new Steps((bytes, at) => this.#read(bytes, at));
  /** Entries of a table of times that are still to be read, and what stands behind them in their box. */
  #entries = 0;
  #behind = 0;
  #fragmentOf: Track | undefined;
  #broken = false;
  readonly #tracks: Track[] = [];

  push(chunk: Buffer): void {
    if (this.#broken) return;
    this.#steps.push(chunk);
  }

  /** Of the longest sound in it; null where there is none, or one of fragments that are no AAC, or far too many tracks. */
  sound(): { durationMs: number | null; sampleRate: number | null } {
    const sounds = this.#broken ? [] : this.#tracks.filter(({ isSound }) => isSound);
    const ms = Math.max(0, ...sounds.map(lengthMs));
    return { durationMs: ms > 0 ? Math.ceil(ms) : null, sampleRate: sounds[0]?.rate || null };
  }

  /** How many bytes lie behind; 0: more are needed. */
  #read(bytes: Buffer, at: number): number {
    if (this.#entries > 0) return this.#entry(bytes, at);
    if (at + 16 > bytes.length) return 0;
    const type = bytes.toString('latin1', at + 4, at + 8);
    const short = bytes.readUInt32BE(at);
    const headBytes = short === 1 ? 16 : 8;
    const size = short === 1 ? Number(bytes.readBigUInt64BE(at + 8)) : short === 0 ? Infinity : short;
    if (size < headBytes) return Infinity;
    if (type === 'trak') {
      this.#broken = this.#tracks.length === MOST_TRACKS;
      if (this.#broken) return Infinity;
      this.#tracks.push(newTrack());
    }
    if (WITHIN.has(type)) return headBytes;
    const content = size - headBytes;
    const needed = Math.min(LOOKED_AT[type] ?? 0, content);
    const from = at + headBytes;
    if (from + needed > bytes.length) return 0;
    if (needed > 0) this.#box(type, bytes.subarray(from, from + needed));
    if (type !== 'stts' || needed < 8) return size;
    this.#entries = Math.min(bytes.readUInt32BE(from + 4), Math.floor((content - 8) / 8));
    this.#behind = content - 8 - this.#entries * 8;
    return headBytes + 8 + (this.#entries === 0 ? this.#behind : 0);
  }

  #entry(bytes: Buffer, at: number): number {
    if (at + 8 > bytes.length) return 0;
    const track = this.#tracks.at(-1);
    const samples = bytes.readUInt32BE(at);
    if (track) {
      track.samples += samples;
      track.units += samples * bytes.readUInt32BE(at + 4);
    }
    this.#entries--;
    return 8 + (this.#entries === 0 ? this.#behind : 0);
  }

  #box(type: string, content: Buffer): void {
    if (content.length < 8) return;
    if (type === 'tfhd') {
      const id = content.readUInt32BE(4);
      this.#fragmentOf = this.#tracks.find((track) => track.id === id);
    }
    if (type === 'trun' && this.#fragmentOf) this.#fragmentOf.fragmented += content.readUInt32BE(4);
    const track = this.#tracks.at(-1);
    if (!track) return;
    // The first byte is a version: times of eight bytes instead of four.
    const long = content[0] === 1 ? 8 : 0;
    if (type === 'hdlr' && content.length >= 12) track.isSound = content.toString('latin1', 8, 12) === 'soun';
    if (type === 'tkhd' && content.length >= 24) track.id = content.readUInt32BE(12 + long);
    if ((type === 'stsz' || type === 'stz2') && content.length >= 12) track.sized += content.readUInt32BE(8);
    if (type === 'mdhd' && content.length >= 24) track.scale = content.readUInt32BE(12 + long);
    if (type === 'stsd' && content.length >= 44) describe(track, content);
  }
}

const newTrack = (): Track => ({
  id: 0,
  isSound: false,
  scale: 0,
  isAac: false,
  rate: 0,
  samples: 0,
  sized: 0,
  fragmented: 0,
  units: 0,
});

/** The decoder's own word for the rate is in the codec's description; the box around it may say anything. */
function describe(track: Track, content: Buffer): void {
  track.isAac = content.toString('latin1', 12, 16) === 'mp4a';
  track.rate = content.readUInt16BE(40);
  const described = content.indexOf('esds', 0, 'latin1');
  // A tag of 5, a length of 1 to 4 bytes, then 5 bits of kind and 4 of rate.
  const tag = described < 0 ? -1 : content.indexOf(5, described + 8 + 18);
  if (tag < 0) return;
  let at = tag + 1;
  while (at < content.length && ((content[at] as number) & 0x80) !== 0) at++;
  if (at + 3 > content.length) return;
  track.rate = AAC_RATES[(content.readUInt16BE(at + 1) >> 7) & 15] ?? track.rate;
}

function lengthMs({ scale, isAac, rate, samples, sized, fragmented, units }: Track): number {
  if (fragmented > 0 && !isAac) return 0;
  const told = scale > 0 ? (units / scale) * 1000 : 0;
  const counted =
    isAac && rate > 0 ? (((Math.max(samples, sized) + fragmented) * AAC_SAMPLES) / rate) * 1000 : 0;
  return Math.max(told, counted);
}
