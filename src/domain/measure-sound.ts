// How long sound lasts.
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { parseStream } from 'music-metadata';
import { FlacWalk } from './flac.ts';
import { FrameWalk } from './frames.ts';
import { OggOpusWalk } from './ogg-opus.ts';
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

const PIECE_BYTES = 16 << 10;

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

/**
 * Of bytes that are read as they are needed and never whole in memory. A stream that fails is of unknown length.
 */
export async function measureStream(content: Readable, { contentType, bytes }: Content): Promise<Sound> {
  try {
    if (contentType === 'audio/wav') return await wave(content, bytes);
    const walk = walkOf(contentType);
    if (walk) return await walked(content, walk);
    if (contentType === 'audio/ogg') return await ogg(content, bytes);
    return await byHeader(content, { contentType, bytes });
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
      return new FrameWalk(contentType);
    case 'audio/flac':
      return new FlacWalk();
    case 'audio/webm':
      return new WebmWalk();
    default:
      return null;
  }
}

async function walked(content: Readable, walk: Walk): Promise<Sound> {
  for await (const chunk of content) walk.push(chunk as Buffer);
  const { durationMs, sampleRate } = walk.sound();
  return checked(durationMs ?? NaN, sampleRate);
}

/** Opus is walked; of anything else in Ogg its positions are believed. */
async function ogg(content: Readable, bytes: number): Promise<Sound> {
  const opus = (await beginning(content, 64)).includes('OpusHead', 0, 'latin1');
  return opus ? walked(content, new OggOpusWalk()) : byHeader(content, { contentType: 'audio/ogg', bytes });
}

/** So many bytes, if there are, which stay to be read. */
async function beginning(content: Readable, bytes: number): Promise<Buffer> {
  let head = Buffer.alloc(0);
  while (head.length < bytes && !content.readableEnded) {
    const chunk = content.read() as Buffer | null;
    if (chunk) head = Buffer.concat([head, chunk]);
    else await once(content, 'readable');
    if (!chunk && content.readableLength === 0) break;
  }
  content.unshift(head);
  return head;
}

/** Bytes a second that sound in Ogg never reaches: what claims to be so short is longer. Of MP4 nothing can be said: it may be video. */
const MOST_OGG_BYTES_A_SECOND = 200_000;

/** A file made of nothing but millions of empty parts takes minutes to read; a real one, as long as its bytes take to come. */
const PATIENCE_MS = 2_000;
const SLOWEST_BYTES_A_MS = 10_000;

async function byHeader(content: Readable, { contentType, bytes }: Content): Promise<Sound> {
  const timer = setTimeout(
    () => content.destroy(new Error('it takes too long')),
    PATIENCE_MS + bytes / SLOWEST_BYTES_A_MS,
  );
  try {
    const { format } = await parseStream(
      content,
      { mimeType: contentType, size: bytes },
      { duration: true, skipCovers: true, skipPostHeaders: true },
    );
    const seconds = format.duration ?? NaN;
    const most = contentType === 'audio/ogg' ? MOST_OGG_BYTES_A_SECOND : Infinity;
    return checked(bytes / seconds > most ? NaN : seconds * 1000, format.sampleRate ?? null);
  } finally {
    clearTimeout(timer);
  }
}

/** What a column of the artifact's row holds. */
const MOST_MS = 2_147_483_647;

function checked(durationMs: number, sampleRate: number | null): Sound {
  const ms = Math.ceil(durationMs);
  const rate = Math.round(sampleRate ?? NaN);
  return {
    durationMs: ms > 0 && ms <= MOST_MS ? ms : null,
    sampleRate: rate > 0 && rate <= 768_000 ? rate : null,
  };
}
