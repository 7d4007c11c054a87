// What a bucket holds, in memory.
import { createHash, randomUUID } from 'node:crypto';
import { S3Refusal } from './fault.ts';

export interface StoredObject {
  body: Buffer;
  etag: string;
  contentType: string;
  modified: Date;
}

export interface OpenUpload {
  id: string;
  key: string;
  contentType: string;
  initiated: Date;
  parts: Map<number, { body: Buffer; etag: string }>;
}

const PART_MIN_BYTES = 5 * 1024 * 1024;
const md5 = (body: Buffer): string => createHash('md5').update(body).digest('hex');

export class Bucket {
  readonly objects = new Map<string, StoredObject>();
  readonly uploads = new Map<string, OpenUpload>();

  put(key: string, body: Buffer, contentType: string): StoredObject {
    const object = { body, etag: `"${md5(body)}"`, contentType, modified: new Date() };
    this.objects.set(key, object);
    return object;
  }

  /** @throws S3Refusal NoSuchKey */
  get(key: string): StoredObject {
    const object = this.objects.get(key);
    if (!object) throw new S3Refusal('NoSuchKey');
    return object;
  }

  begin(key: string, contentType: string): OpenUpload {
    const upload = { id: randomUUID(), key, contentType, initiated: new Date(), parts: new Map() };
    this.uploads.set(upload.id, upload);
    return upload;
  }

  /** @throws S3Refusal NoSuchUpload */
  upload(id: string, key: string): OpenUpload {
    const upload = this.uploads.get(id);
    if (upload?.key !== key) throw new S3Refusal('NoSuchUpload');
    return upload;
  }

  addPart(upload: OpenUpload, number: number, body: Buffer): string {
    const etag = `"${md5(body)}"`;
    upload.parts.set(number, { body, etag });
    return etag;
  }

  /** @param listed the parts that the client wants, in its order */
  complete(upload: OpenUpload, listed: readonly { number: number; etag: string }[]): StoredObject {
    if (listed.some(({ number }, i) => number <= (listed[i - 1]?.number ?? 0)))
      throw new S3Refusal('InvalidPart');
    const bodies = listed.map(({ number, etag }, i) => {
      const part = upload.parts.get(number);
      if (part?.etag !== etag) throw new S3Refusal('InvalidPart');
      if (i < listed.length - 1 && part.body.length < PART_MIN_BYTES) throw new S3Refusal('EntityTooSmall');
      return part.body;
    });
    if (bodies.length === 0) throw new S3Refusal('InvalidPart');
    this.uploads.delete(upload.id);
    const object = this.put(upload.key, Buffer.concat(bodies), upload.contentType);
    const hashes = listed.map(({ etag }) => Buffer.from(etag.slice(1, -1), 'hex'));
    object.etag = `"${md5(Buffer.concat(hashes))}-${listed.length}"`;
    return object;
  }
}
