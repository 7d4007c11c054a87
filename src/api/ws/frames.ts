// What goes out, as WebSocket frames. Events are spliced in as they are stored, and those of a batch are written out once
// for all connections that call the subscription alike.
import { wants } from '../../domain/event-types.ts';
import type { Batch, Frame } from '../../flow/frame.ts';

const TEXT = 0x81;

/** Frames of one text each, one after the other. A server's are not masked (RFC 6455, 5.1). */
export function textFrames(texts: readonly string[]): Buffer {
  const sizes = texts.map((text) => Buffer.byteLength(text));
  const bytes = Buffer.allocUnsafe(sizes.reduce((sum, size) => sum + size + headSize(size), 0));
  let at = 0;
  for (const [i, text] of texts.entries()) {
    at = writeHead(bytes, at, sizes[i] as number);
    at += bytes.write(text, at);
  }
  return bytes;
}

const headSize = (size: number): number => (size < 126 ? 2 : size < 65_536 ? 4 : 10);

function writeHead(bytes: Buffer, at: number, size: number): number {
  bytes[at] = TEXT;
  if (size < 126) {
    bytes[at + 1] = size;
  } else if (size < 65_536) {
    bytes[at + 1] = 126;
    bytes.writeUInt16BE(size, at + 2);
  } else {
    bytes[at + 1] = 127;
    bytes.writeBigUInt64BE(BigInt(size), at + 2);
  }
  return at + headSize(size);
}

/** Which types of events are wanted: exact names, `job.*`, or `*`. */
export interface Wanted {
  /** The same for all who want the same. */
  name: string;
  has(type: string): boolean;
}

export const EVERYTHING: Wanted = { name: '*', has: () => true };

export function wanted(patterns: readonly string[] | undefined): Wanted {
  if (!patterns || patterns.includes('*')) return EVERYTHING;
  return { name: patterns.join(), has: (type) => wants(patterns, type) };
}

export interface Frames {
  bytes: Buffer;
  count: number;
}

/** Readers of one account share their batches. */
const known = new WeakMap<Batch, Map<string, Frames>>();

/** A batch of numbered events for one subscription; null if none of them is wanted. */
export function eventFrames(batch: Batch, subscription: string, { name, has }: Wanted): Frames | null {
  let byName = known.get(batch);
  if (!byName) known.set(batch, (byName = new Map()));
  const key = `${subscription} ${name}`;
  let frames = byName.get(key);
  if (!frames) {
    const texts = batch.filter(({ event }) => has(event)).map((frame) => eventText(subscription, frame));
    byName.set(key, (frames = { bytes: textFrames(texts), count: texts.length }));
  }
  return frames.count > 0 ? frames : null;
}

export const eventText = (subscription: string, { data }: Pick<Frame, 'data'>): string =>
  `{"type":"event","subscription":"${subscription}","event":${data}}`;
