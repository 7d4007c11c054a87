import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import type { Readable } from 'node:stream';
import { type Storage, StorageMissing, StorageTooLarge } from './storage.ts';

/** Artifacts as files below `root`. A file is written beside its place, forced to disk, and moved there. */
export function openFileStorage(root: string): Storage {
  const pathOf = (key: string): string => {
    if (!/^[A-Za-z0-9_-]+(\/[A-Za-z0-9_-]+)*$/.test(key)) throw new Error('not a storage key');
    return join(root, 'objects', key);
  };
  const markPath = join(root, 'storage-id');
  async function keep(path: string, content: Buffer | Readable, maxBytes = Number.POSITIVE_INFINITY) {
    const draft = join(root, 'drafts', randomUUID());
    await mkdir(dirname(draft), { recursive: true });
    try {
      const written = await writeWhole(draft, content, maxBytes);
      await mkdir(dirname(path), { recursive: true });
      await rename(draft, path);
      return written;
    } catch (error) {
      await rm(draft, { force: true });
      throw error;
    }
  }
  return {
    put: (key, content, limit) => keep(pathOf(key), content, limit?.maxBytes),
    async open(key, range) {
      const path = pathOf(key);
      await stat(path).catch((error: unknown) => missing(error, key));
      return createReadStream(path, range);
    },
    read: (key) => readFile(pathOf(key)).catch((error: unknown) => missing(error, key)),
    remove: (key) => rm(pathOf(key), { force: true }),
    async *list() {
      const objects = join(root, 'objects');
      const entries = await readdir(objects, { recursive: true, withFileTypes: true }).catch(() => []);
      for (const entry of entries) {
        if (!entry.isFile()) continue;
        const path = join(entry.parentPath, entry.name);
        const found = await stat(path).catch(() => null);
        if (found) yield { key: relative(objects, path), ageMs: Date.now() - found.mtimeMs };
      }
    },
    async removeDrafts(olderThanMs) {
      const drafts = join(root, 'drafts');
      for (const name of await readdir(drafts).catch(() => [])) {
        const path = join(drafts, name);
        const written = await stat(path).catch(() => null);
        if (written && Date.now() - written.mtimeMs > olderThanMs) await rm(path, { force: true });
      }
    },
    async mark() {
      const text = await readFile(markPath, 'utf8').catch((error: unknown) => {
        if ((error as { code?: unknown }).code === 'ENOENT') return '';
        throw error;
      });
      return text.trim() || null;
    },
    setMark: async (mark) => void (await keep(markPath, Buffer.from(`${mark}\n`))),
    async ping() {
      await mkdir(root, { recursive: true });
    },
  };
}

async function writeWhole(path: string, content: Buffer | Readable, maxBytes: number) {
  const hash = createHash('sha256');
  const file = await open(path, 'wx');
  let bytes = 0;
  try {
    for await (const chunk of Buffer.isBuffer(content) ? [content] : content) {
      bytes += (chunk as Buffer).length;
      if (bytes > maxBytes) throw new StorageTooLarge(maxBytes);
      hash.update(chunk as Buffer);
      await file.writeFile(chunk as Buffer);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return { bytes, sha256: hash.digest('hex') };
}

function missing(error: unknown, key: string): never {
  if ((error as { code?: unknown }).code === 'ENOENT') throw new StorageMissing(key);
  throw error;
}
