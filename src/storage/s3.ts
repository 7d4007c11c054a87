import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { openS3Client, type S3Options } from './s3-client.ts';
import { readObject } from './s3-read.ts';
import { troubleOf } from './s3-trouble.ts';
import { writeObject } from './s3-write.ts';
import { spool, type Spooled } from './spool.ts';
import { assertKey, type Storage, StorageMissing, type Written } from './storage.ts';

export type { S3Options } from './s3-client.ts';

/** A question whether it is there at all is answered by then, or it is not. */
const ASK_MS = 5_000;

/**
 * Artifacts as objects of a bucket, named as `openFileStorage` names its files.
 * @param spoolDir what is being stored waits here, unseen, until its hash is known
 */
export function openS3Storage(options: S3Options, { spoolDir }: { spoolDir: string }): Storage {
  const { bucket: Bucket, prefix, endpoint, publicEndpoint } = options;
  const client = openS3Client(options, { endpoint });
  const reader = openS3Client(options, { endpoint, reads: true });
  const reachable = publicEndpoint !== null || endpoint === null;
  const outside = reachable ? openS3Client(options, { endpoint: publicEndpoint }) : null;
  const objects = `${prefix}objects/`;
  const markAt = { Bucket, Key: `${prefix}storage-id` };
  const at = (key: string): { Bucket: string; Key: string } => {
    assertKey(key);
    return { Bucket, Key: `${objects}${key}` };
  };
  const told = (error: unknown): never => {
    throw troubleOf(error, options);
  };

  /** Ends with the spool closed, whatever comes of it. */
  async function send(spooled: Spooled, Key: string): Promise<Written> {
    try {
      await writeObject(client, { Bucket, Key }, spooled).catch(told);
    } finally {
      await spooled.close();
    }
    return { bytes: spooled.bytes, sha256: spooled.sha256 };
  }

  const open: Storage['open'] = async (key, range) =>
    readObject(reader, at(key), {
      range,
      tell: (error) => (isMissing(error) ? new StorageMissing(key) : troubleOf(error, options)),
    });

  return {
    place: `s3://${Bucket}/${prefix}`,
    async put(key, content, limit) {
      const { Key } = at(key);
      return send(await spool(spoolDir, content, limit?.maxBytes), Key);
    },
    async stage(content, limit) {
      const spooled = await spool(spoolDir, content, limit?.maxBytes);
      const { bytes, sha256 } = spooled;
      return {
        bytes,
        sha256,
        head: (most) => spooled.head(most),
        content() {
          const content = spooled.content();
          return Buffer.isBuffer(content) ? Readable.from([content]) : content;
        },
        async keep(owner) {
          const key = `${owner}/${sha256}`;
          await send(spooled, at(key).Key);
          return key;
        },
        drop: () => spooled.close(),
      };
    },
    open,
    read: async (key) => buffer(await open(key)),
    async remove(key) {
      await client.send(new DeleteObjectCommand(at(key))).catch(told);
    },
    async age(key) {
      const found = await client.send(new HeadObjectCommand(at(key))).catch((error: unknown) => {
        if (isMissing(error)) return null;
        return told(error);
      });
      return found && ageOf(found.LastModified);
    },
    async *list() {
      for (let next: string | undefined, more = true; more; more = next !== undefined) {
        const page = await client
          .send(new ListObjectsV2Command({ Bucket, Prefix: objects, ContinuationToken: next }))
          .catch(told);
        for (const { Key = '', LastModified } of page.Contents ?? [])
          yield { key: Key.slice(objects.length), ageMs: ageOf(LastModified) };
        next = page.NextContinuationToken;
      }
    },
    async removeDrafts(olderThanMs) {
      for (let next: UploadsMarker | null = {}; next;) {
        const page: ListMultipartUploadsCommandOutput = await client
          .send(new ListMultipartUploadsCommand({ Bucket, Prefix: objects, ...next }))
          .catch(told);
        for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
          if (ageOf(Initiated) <= olderThanMs) continue;
          await client
            .send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }))
            .catch((error: unknown) => {
              // Ended meanwhile, by whoever began it.
              if ((error as Error).name !== 'NoSuchUpload') told(error);
            });
        }
        const { NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page;
        next = page.IsTruncated ? { KeyMarker, UploadIdMarker } : null;
      }
    },
    async linkOut(key, { contentType, filename, expiresInS }) {
      if (!outside) return null;
      const command = new GetObjectCommand({
        ...at(key),
        ResponseContentDisposition: `attachment; filename="${filename}"`,
        ResponseContentType: contentType,
        ResponseCacheControl: 'private, max-age=3600',
      });
      return getSignedUrl(outside, command, { expiresIn: expiresInS }).catch(told);
    },
    async linkIn(key, { contentType, bytes, expiresInS }) {
      if (!outside) return null;
      const command = new PutObjectCommand({ ...at(key), ContentType: contentType, ContentLength: bytes });
      // Signed, type and size are what was promised, or the server refuses.
      const signableHeaders = new Set(['content-type', 'content-length', 'host']);
      return getSignedUrl(outside, command, { expiresIn: expiresInS, signableHeaders }).catch(told);
    },
    async mark() {
      try {
        const { Body } = await client.send(new GetObjectCommand(markAt), within(ASK_MS));
        return (Body && (await Body.transformToString()).trim()) || null;
      } catch (error) {
        return isMissing(error) ? null : told(error);
      }
    },
    async setMark(mark) {
      await send(await spool(spoolDir, Buffer.from(`${mark}\n`)), markAt.Key);
    },
    async ping() {
      await client.send(new HeadBucketCommand({ Bucket }), within(ASK_MS)).catch(told);
    },
    close() {
      client.destroy();
      reader.destroy();
      outside?.destroy();
    },
  };
}

const within = (ms: number): { abortSignal: AbortSignal } => ({ abortSignal: AbortSignal.timeout(ms) });

interface UploadsMarker {
  KeyMarker?: string | undefined;
  UploadIdMarker?: string | undefined;
}

/** By the server's clock and ours: a few seconds do not matter where ages are judged by the hour. */
const ageOf = (at: Date | undefined): number => Date.now() - (at?.getTime() ?? Date.now());

/** A HEAD has no body that could name what is missing. */
const isMissing = (error: unknown): boolean => /^(NoSuchKey|NotFound)$/.test((error as Error).name);
