import { HeadObjectCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { setTimeout as sleep } from 'node:timers/promises';
import { mayPass } from './s3-trouble.ts';
import type { Spooled } from './spool.ts';

const MULTIPART_ABOVE_BYTES = 25 * 1024 * 1024;
const PART_BYTES = 8 * 1024 * 1024;
/** Parts of one upload that are in memory and on their way. */
const PARTS_AT_ONCE = 2;
const ATTEMPTS = 3;

interface Target {
  Bucket: string;
  Key: string;
}

/**
 * All of it or nothing. Up to 25 MiB the server is told the hash of the whole; of more, each part's is in its signature, and
 * the parts are taken back if one fails.
 */
export async function writeObject(client: S3Client, target: Target, spooled: Spooled): Promise<void> {
  if (spooled.bytes > MULTIPART_ABOVE_BYTES) return writeParts(client, target, spooled);
  await repeatedly(async () =>
    client.send(
      new PutObjectCommand({
        ...target,
        Body: spooled.content(),
        ContentLength: spooled.bytes,
        ChecksumSHA256: Buffer.from(spooled.sha256, 'hex').toString('base64'),
      }),
    ),
  );
}

async function writeParts(client: S3Client, target: Target, spooled: Spooled): Promise<void> {
  const upload = new Upload({
    client,
    params: { ...target, Body: spooled.content() },
    partSize: PART_BYTES,
    queueSize: PARTS_AT_ONCE,
    leavePartsOnError: false,
  });
  await upload.done();
  const { ContentLength } = await client.send(new HeadObjectCommand(target));
  if (ContentLength !== spooled.bytes)
    throw new Error(`${ContentLength} bytes are stored where ${spooled.bytes} were sent`);
}

/** A body that is a stream can be sent once, so the SDK does not repeat such a request; with a fresh stream each, we can. */
async function repeatedly<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt === ATTEMPTS || !mayPass(error)) throw error;
      await sleep(Math.random() * 100 * 2 ** attempt);
    }
  }
}
