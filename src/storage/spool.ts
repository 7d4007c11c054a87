// Content on its way to a storage that wants to know length and hash before it takes the first byte.
import { createHash, randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type Content, StorageTooLarge, type Written } from './storage.ts';

export interface Spooled extends Written {
  /** From the first byte, as often as it is asked for. */
  content(): Content;
  head(bytes: number): Promise<Buffer>;
  close(): Promise<void>;
}

const IN_MEMORY_BYTES = 1024 * 1024;

/**
 * Reads it to its end: what is short stays in memory, what is longer goes into a file of `folder` that nobody can see and
 * that is gone with this process, however that ends.
 * @throws StorageTooLarge, and whatever the content itself ends with
 */
export async function spool(
  folder: string,
  content: Content,
  maxBytes = Number.POSITIVE_INFINITY,
): Promise<Spooled> {
  const hash = createHash('sha256');
  const chunks: Buffer[] = [];
  let bytes = 0;
  let file: FileHandle | null = null;
  try {
    for await (const chunk of Buffer.isBuffer(content) ? [content] : (content as AsyncIterable<Buffer>)) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw new StorageTooLarge(maxBytes);
      hash.update(chunk);
      if (file) await file.writeFile(chunk);
      else chunks.push(chunk);
      if (file || bytes <= IN_MEMORY_BYTES || Buffer.isBuffer(content)) continue;
      file = await openUnseen(folder);
      await file.writeFile(Buffer.concat(chunks.splice(0)));
    }
  } catch (error) {
    await file?.close();
    throw error;
  }
  const written = { bytes, sha256: hash.digest('hex') };
  if (!file) {
    const all = Buffer.concat(chunks);
    return {
      ...written,
      content: () => all,
      head: async (most) => all.subarray(0, most),
      close: async () => {},
    };
  }
  const filled = file;
  // Not the handle's own stream: who ends that one early, as a request that breaks does, closes the file.
  const read = (): Readable => Readable.from(piecesOf(filled, bytes), { objectMode: false });
  return { ...written, content: read, head: (most) => readHead(filled, most), close: () => filled.close() };
}

const PIECE_BYTES = 64 * 1024;

async function* piecesOf(file: FileHandle, bytes: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes;) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(PIECE_BYTES), 0, PIECE_BYTES, at);
    if (bytesRead === 0) throw new Error(`the spool ends after ${at} of ${bytes} bytes`);
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** The first bytes of a file: `most`, or all it has. */
export async function readHead(file: FileHandle, most: number): Promise<Buffer> {
  const head = Buffer.alloc(most);
  let filled = 0;
  for (let more = true; more && filled < most;) {
    const { bytesRead } = await file.read(head, filled, most - filled, filled);
    filled += bytesRead;
    more = bytesRead > 0;
  }
  return head.subarray(0, filled);
}

/** Its name is removed at once, and its bytes when it is closed. */
async function openUnseen(folder: string): Promise<FileHandle> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, randomUUID());
  const file = await open(path, 'wx+', 0o600);
  await rm(path);
  return file;
}
