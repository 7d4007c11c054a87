// Content on its way to a storage that wants to know length and hash before it takes the first byte.
import { createHash, randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
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
  // With an end: those who send it want to know how long it is.
  const read = (): Readable => filled.createReadStream({ start: 0, end: bytes - 1, autoClose: false });
  return { ...written, content: read, head: (most) => readHead(filled, most), close: () => filled.close() };
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
