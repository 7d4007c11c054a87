// How long sound lasts.
import { Readable } from 'node:stream';
import { parseStream } from 'music-metadata';
import { FrameWalk } from './frames.ts';
import { soundType } from './sound.ts';
import { wavFormat } from './wav.ts';

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
  return measureStream(Readable.from([bytes], { objectMode: false }), { contentType, bytes: bytes.length });
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
    if (contentType === 'audio/mpeg' || contentType === 'audio/aac')
      return await frames(content, contentType);
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

async function frames(content: Readable, contentType: 'audio/mpeg' | 'audio/aac'): Promise<Sound> {
  const walk = new FrameWalk(contentType);
  for await (const chunk of content) walk.push(chunk as Buffer);
  const { durationMs, sampleRate } = walk.sound();
  return checked(durationMs ?? NaN, sampleRate);
}

/** Bytes a second that sound of these types never reaches: what claims to be so short is longer. Of video nothing can be said. */
const MOST_BYTES_A_SECOND: Record<string, number> = { 'audio/flac': 1_200_000, 'audio/ogg': 200_000 };

async function byHeader(content: Readable, { contentType, bytes }: Content): Promise<Sound> {
  const { format } = await parseStream(
    content,
    { mimeType: contentType, size: bytes },
    { duration: true, skipCovers: true, skipPostHeaders: true },
  );
  const seconds = format.duration ?? NaN;
  const most = MOST_BYTES_A_SECOND[contentType] ?? Infinity;
  return checked(bytes / seconds > most ? NaN : seconds * 1000, format.sampleRate ?? null);
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
