// Text as the bytes that are sounded, and back. A head of fixed size comes first: a mark, how many frames each symbol is
// held, the length of the text in bytes and its CRC. Then the text in Reed-Solomon blocks, interleaved byte by byte, so that
// a gap in the sound is spread over all blocks.
import { crc32 } from 'node:zlib';
import { rsDecode, rsEncode } from './reed-solomon.ts';

const MARK = 0x4d;
const HEAD_DATA = 11;
const HEAD_PARITY = 16;
/** Bytes of the head as sounded: nine frames. */
export const HEAD_BYTES = HEAD_DATA + HEAD_PARITY;

const PARITY = 24;
const MOST_DATA = 255 - PARITY;
/** Beyond this a length is noise, not a text. */
const MOST_BYTES = 1 << 20;

export interface Head {
  /** How many frames each symbol of the body is held. */
  hold: number;
  textBytes: number;
  crc: number;
}

export function sealHead(text: Buffer, hold: number): Uint8Array {
  const head = Buffer.alloc(HEAD_DATA);
  head.writeUInt8(MARK, 0);
  head.writeUInt8(hold, 1);
  head.writeUInt32LE(text.length, 2);
  head.writeUInt32LE(crc32(text), 6);
  return rsEncode(head, HEAD_PARITY);
}

/** Null: this is no head, or too much of it was lost. */
export function openHead(bytes: Uint8Array): Head | null {
  const data = rsDecode(bytes, HEAD_PARITY);
  if (!data) return null;
  const head = Buffer.from(data);
  const textBytes = head.readUInt32LE(2);
  const hold = head.readUInt8(1);
  if (head[0] !== MARK || hold < 1 || textBytes < 1 || textBytes > MOST_BYTES) return null;
  return { hold, textBytes, crc: head.readUInt32LE(6) };
}

/** Sizes of the blocks' data: as few blocks as will do, as even as can be. */
function blockSizes(textBytes: number): number[] {
  const blocks = Math.ceil(textBytes / MOST_DATA);
  return Array.from({ length: blocks }, (_, i) => Math.floor((textBytes + i) / blocks));
}

/** How many bytes are sounded after the head. */
export const bodyBytes = (textBytes: number): number => textBytes + Math.ceil(textBytes / MOST_DATA) * PARITY;

export function sealBody(text: Buffer): Uint8Array {
  let at = 0;
  const blocks = blockSizes(text.length).map((size) => rsEncode(text.subarray(at, (at += size)), PARITY));
  const body = new Uint8Array(bodyBytes(text.length));
  interleave(blocks, (block, j, i) => (body[i] = block[j]!));
  return body;
}

/** The text, or null if too much was lost to be sure of every letter. */
export function openBody(body: Uint8Array, { textBytes, crc }: Head): string | null {
  const blocks = blockSizes(textBytes).map((size) => new Uint8Array(size + PARITY));
  interleave(blocks, (block, j, i) => (block[j] = body[i] ?? 0));
  const parts: Uint8Array[] = [];
  for (const block of blocks) {
    const data = rsDecode(block, PARITY);
    if (!data) return null;
    parts.push(data);
  }
  const text = Buffer.concat(parts);
  return crc32(text) === crc ? text.toString('utf8') : null;
}

/** Visits every byte of the blocks in the order in which they are sounded. */
function interleave(blocks: Uint8Array[], visit: (block: Uint8Array, j: number, i: number) => void): void {
  const longest = Math.max(...blocks.map((block) => block.length));
  let i = 0;
  for (let j = 0; j < longest; j++) {
    for (const block of blocks) if (j < block.length) visit(block, j, i++);
  }
}
