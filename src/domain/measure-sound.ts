// How long sound lasts. It is looked at piece by piece, in time that grows with its length and no faster, whatever it holds.
import { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { FlacWalk } from './flac.ts';
import { FramesWalk } from './frames.ts';
import { Mp4Walk } from './mp4.ts';
import { OggWalk } from './ogg.ts';
import { soundType } from './sound.ts';
import { wavFormat } from './wav.ts';
import { WebmWalk } from './webm.ts';

export interface Sound {
  /** In whole milliseconds, rounded up; null: the bytes do not tell, or what they tell cannot be. */
  durationMs: number | null;
  /** Samples a second. */
  sampleRate: number | null;
}

interface Content {
  /** As soundType tells it. */
  contentType: string;
  bytes: number;
}

/** Of bytes that are all there. */
export function measureSound(bytes: Buffer, contentType: string): Promise<Sound> {
  const content = Readable.from(pieces(bytes), { objectMode: false });
  return measureStream(content, { contentType, bytes: bytes.length });
}

const PIECE_BYTES = 64 << 10;

/** With a breath between them: whoever measures takes turns with everything else that goes on. */
async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    yield bytes.subarray(at, at + PIECE_BYTES);
    await setImmediate();
  }
}

/** Of bytes that are all there, of whatever kind they turn out to be; `contentType` null: no sound that we know. */
export async function recognise(bytes: Buffer): Promise<Sound & { contentType: string | null }> {
  const contentType = soundType(bytes);
  return { contentType, ...(contentType === null ? UNKNOWN : await measureSound(bytes, contentType)) };
}

/** Of bytes that are read as they are needed and never whole in memory. A stream that fails is of unknown length. */
export async function measureStream(content: Readable, { contentType, bytes }: Content): Promise<Sound> {
  try {
    if (contentType === 'audio/wav') return await wave(content, bytes);
    const walk = walkOf(contentType);
    if (!walk) return UNKNOWN;
    for await (const chunk of content) walk.push(chunk as Buffer);
    return checked(walk.sound());
  } catch {
    return UNKNOWN;
  } finally {
    content.destroy();
  }
}

const UNKNOWN: Sound = { durationMs: null, sampleRate: null };
/** Where a WAV's samples begin, at the latest. */
const HEAD_BYTES = 64 << 10;

async function wave(content: Readable, bytes: number): Promise<Sound> {
  let head = Buffer.alloc(0);
  for await (const chunk of content) {
    head = Buffer.concat([head, chunk as Buffer]);
    if (head.length >= HEAD_BYTES) break;
  }
  const format = wavFormat(head);
  if (!format) return UNKNOWN;
  // The length that counts is the true one, not what the header claims.
  const sound = format.dataBytes + bytes - head.length;
  return { durationMs: Math.ceil((sound / format.bytesPerSecond) * 1000), sampleRate: format.sampleRate };
}

/** Looks at all of it, a piece at a time. */
interface Walk {
  push(chunk: Buffer): void;
  sound(): Sound;
}

function walkOf(contentType: string): Walk | null {
  switch (contentType) {
    case 'audio/mpeg':
    case 'audio/aac':
      return new FramesWalk(contentType);
    case 'audio/flac':
      return new FlacWalk();
    case 'audio/ogg':
      return new OggWalk();
    case 'audio/mp4':
      return new Mp4Walk();
    case 'audio/webm':
      return new WebmWalk();
    default:
      return null;
  }
}

/** What a column of the artifact's row holds. */
const MOST_MS = 2_147_483_647;

function checked({ durationMs, sampleRate }: Sound): Sound {
  const [ms, rate] = [durationMs ?? 0, Math.round(sampleRate ?? 0)];
  return {
    durationMs: ms > 0 && ms <= MOST_MS ? ms : null,
    sampleRate: rate > 0 && rate <= 768_000 ? rate : null,
  };
}
