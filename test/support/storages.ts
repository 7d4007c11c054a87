// Every kind of storage there is, for suites that hold each of them to the same.
import { mkdtemp, readdir, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openFileStorage } from '../../src/storage/files.ts';
import { openS3Storage, type S3Options } from '../../src/storage/s3.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { type S3Server, startS3Server } from './s3-server.ts';

export const STORAGES = ['files', 's3'] as const;

export interface Stand {
  storage: Storage;
  /** As if it had been put so many hours ago. */
  grow(key: string, hours: number): Promise<void>;
  /** Whatever unfinished puts have left, wherever. */
  drafts(): Promise<string[]>;
  close(): Promise<void>;
}

export async function openStand(kind: (typeof STORAGES)[number]): Promise<Stand> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-storage-'));
  const removed = (): Promise<void> => rm(folder, { recursive: true, force: true });
  if (kind === 'files') {
    return {
      storage: openFileStorage(folder),
      async grow(key, hours) {
        const at = Date.now() / 1000 - hours * 3_600;
        await utimes(join(folder, 'objects', key), at, at);
      },
      drafts: () => readdir(join(folder, 'drafts')).catch(() => []),
      close: removed,
    };
  }
  const server = await startS3Server({ pageSize: 3 });
  const storage = openS3Storage(optionsFor(server), { spoolDir: join(folder, 'spool') });
  return {
    storage,
    async grow(key, hours) {
      server.contents().get(`mill/objects/${key}`).modified = new Date(Date.now() - hours * 3_600_000);
    },
    async drafts() {
      const spooled = await readdir(join(folder, 'spool')).catch(() => []);
      return [...server.contents().uploads.keys(), ...spooled];
    },
    async close() {
      storage.close();
      await server.stop();
      await removed();
    },
  };
}

/** The credentials go into this process's environment, where the SDK looks for them. */
export function optionsFor(server: S3Server, rest: Partial<S3Options> = {}): S3Options {
  useCredentials(server);
  const { bucket, region, url: endpoint } = server;
  return { bucket, region, endpoint, prefix: 'mill/', publicEndpoint: null, ...rest };
}

export function useCredentials({
  accessKeyId,
  secretAccessKey,
}: Record<'accessKeyId' | 'secretAccessKey', string>): void {
  process.env['AWS_ACCESS_KEY_ID'] = accessKeyId;
  process.env['AWS_SECRET_ACCESS_KEY'] = secretAccessKey;
}
