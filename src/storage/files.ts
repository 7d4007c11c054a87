import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, opendir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { readHead } from './spool.ts';
import {
  assertKey,
  type Content,
  type Limit,
  type Storage,
  StorageMissing,
  StorageTooLarge,
  type Written,
} from './storage.ts';

/** Artifacts as files below `root`. A file is written beside its place, forced to disk, and moved there. */
export function openFileStorage(root: string): Storage {
  const pathOf = (key: string): string => {
    assertKey(key);
    return join(root, 'objects', key);
  };
  const markPath = join(root, 'storage-id');
  async function stage(content: Content, limit?: Limit): Promise<Written & { draft: string }> {
    const draft = join(root, 'drafts', randomUUID());
    await mkdir(dirname(draft), { recursive: true });
    try {
      return { draft, ...(await writeWhole(draft, content, limit?.maxBytes ?? Number.POSITIVE_INFINITY)) };
    } catch (error) {
      await rm(draft, { force: true });
      throw error;
    }
  }
  async function settle(draft: string, path: string): Promise<void> {
    try {
      await mkdir(dirname(path), { recursive: true });
      await rename(draft, path);
    } catch (error) {
      await rm(draft, { force: true });
      throw error;
    }
  }
  return {
    place: root,
    async put(key, content, limit) {
      const path = pathOf(key);
      const { draft, ...written } = await stage(content, limit);
      await settle(draft, path);
      return written;
    },
    async stage(content, limit) {
      const { draft, ...written } = await stage(content, limit);
      return {
        ...written,
        head: (bytes) => headOf(draft, bytes),
        content: () => createReadStream(draft),
        async keep(owner) {
          const key = `${owner}/${written.sha256}`;
          await settle(draft, pathOf(key));
          return key;
        },
        drop: () => rm(draft, { force: true }),
      };
    },
    async open(key, range) {
      const path = pathOf(key);
      await stat(path).catch((error: unknown) => missing(error, key));
      return createReadStream(path, range);
    },
    read: (key) => readFile(pathOf(key)).catch((error: unknown) => missing(error, key)),
    remove: async (key) => rm(pathOf(key), { force: true }),
    async age(key) {
      const found = await stat(pathOf(key)).catch((error: unknown) => unlessMissing(error));
      return found && Date.now() - found.mtimeMs;
    },
    async *list() {
      const objects = join(root, 'objects');
      for await (const path of filesBelow(objects)) {
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
    // Clients reach them through the API alone.
    linkOut: async () => null,
    linkIn: async () => null,
    async mark() {
      const text = await readFile(markPath, 'utf8').catch((error: unknown) => unlessMissing(error));
      return text?.trim() || null;
    },
    async setMark(mark) {
      const { draft } = await stage(Buffer.from(`${mark}\n`));
      await settle(draft, markPath);
    },
    async ping() {
      await mkdir(root, { recursive: true });
    },
    close() {},
  };
}

async function writeWhole(path: string, content: Content, maxBytes: number) {
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

/** One after the other, however many there are. @throws what a folder that is there is not read for */
async function* filesBelow(folder: string): AsyncGenerator<string> {
  const entries = await opendir(folder).catch((error: unknown) => unlessMissing(error));
  for await (const entry of entries ?? []) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesBelow(path);
    else if (entry.isFile()) yield path;
  }
}

async function headOf(path: string, most: number): Promise<Buffer> {
  const file = await open(path);
  try {
    return await readHead(file, most);
  } finally {
    await file.close();
  }
}

function missing(error: unknown, key: string): never {
  unlessMissing(error);
  throw new StorageMissing(key);
}

function unlessMissing(error: unknown): null {
  if ((error as { code?: unknown }).code === 'ENOENT') return null;
  throw error;
}
