// A platform whose artifacts are files, or in a bucket of its own that clients reach or do not.
import { utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { type PlatformOptions, startPlatform, type TestPlatform } from './platform.ts';
import { type S3Server, startS3Server } from './s3-server.ts';
import { useCredentials } from './storages.ts';

export const PLACES = ['files', 's3', 's3 that clients reach'] as const;
export type Place = (typeof PLACES)[number];

export interface Placed extends TestPlatform {
  /** Null: on files. */
  s3: S3Server | null;
  /** As if bytes had been put so many hours ago. */
  grow(key: string, hours: number): Promise<void>;
}

export async function startOn(place: Place, { env = {}, ...options }: PlatformOptions = {}): Promise<Placed> {
  const s3 = place === 'files' ? null : await startS3Server();
  if (s3) useCredentials(s3);
  const open: Record<string, string> =
    s3 && place === 's3 that clients reach' ? { S3_PUBLIC_ENDPOINT: s3.url } : {};
  const millrace = await startPlatform({ ...options, env: { ...s3?.env, ...open, ...env } });
  return {
    ...millrace,
    s3,
    async grow(key, hours) {
      const at = new Date(Date.now() - hours * 3_600_000);
      if (s3) s3.contents().get(`objects/${key}`).modified = at;
      else await utimes(join(millrace.dataDir, 'artifacts/objects', key), at, at);
    },
    async stop() {
      await millrace.stop();
      await s3?.stop();
    },
  };
}
