// The S3 server that tests lean on refuses what AWS refuses: else a test could pass with a signature that is wrong.
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type S3Server, startS3Server } from './s3-server.ts';

let server: S3Server;
let client: S3Client;
const Bucket = 'millrace-test';

const open = (rest: S3ClientConfig = {}): S3Client =>
  new S3Client({
    endpoint: server.url,
    forcePathStyle: true,
    region: server.region,
    credentials: { accessKeyId: server.accessKeyId, secretAccessKey: server.secretAccessKey },
    maxAttempts: 1,
    ...rest,
  });

beforeAll(async () => {
  server = await startS3Server();
  client = open();
});
afterAll(async () => {
  client.destroy();
  await server.stop();
});

const get = async (Key: string): Promise<Buffer> => {
  const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }));
  return Buffer.from(await Body!.transformToByteArray());
};

it('takes the framing and the checksum trailer of a stream off', async () => {
  const bytes = randomBytes(200_000);
  const Body = Readable.from([bytes.subarray(0, 70_000), bytes.subarray(70_000)]);
  await client.send(new PutObjectCommand({ Bucket, Key: 'stream', Body, ContentLength: bytes.length }));
  const { headers } = server.calls.at(-1)!;
  expect(headers['x-amz-content-sha256']).toBe('STREAMING-UNSIGNED-PAYLOAD-TRAILER');
  expect(headers['x-amz-trailer']).toBe('x-amz-checksum-crc32');
  expect((await get('stream')).equals(bytes)).toBe(true);
});

it('refuses a body that is not the one whose hash came with it', async () => {
  const ChecksumSHA256 = Buffer.alloc(32).toString('base64');
  const put = client.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'x', ChecksumSHA256 }));
  await expect(put).rejects.toMatchObject({ name: 'BadDigest' });
});

it('refuses a presigned upload that was signed with the checksum of nothing, as AWS does', async () => {
  const url = await getSignedUrl(client, new PutObjectCommand({ Bucket, Key: 'b' }));
  expect(url).toContain('x-amz-checksum-crc32=AAAAAA');
  const answer = await fetch(url, { method: 'PUT', body: 'not nothing' });
  expect([answer.status, /<Code>(\w+)/.exec(await answer.text())?.[1]]).toEqual([400, 'BadDigest']);
});

it.each([
  ['another key', (url: URL) => void (url.pathname += 'x')],
  ['a longer life', (url: URL) => url.searchParams.set('X-Amz-Expires', '900')],
  ['another parameter', (url: URL) => url.searchParams.set('response-content-type', 'text/html')],
  ['another signature', (url: URL) => url.searchParams.set('X-Amz-Signature', '0'.repeat(64))],
])('refuses a presigned URL with %s', async (_, change) => {
  await client.send(new PutObjectCommand({ Bucket, Key: 'c', Body: 'x' }));
  const url = new URL(
    await getSignedUrl(client, new GetObjectCommand({ Bucket, Key: 'c' }), { expiresIn: 60 }),
  );
  expect((await fetch(url)).status).toBe(200);
  change(url);
  expect((await fetch(url)).status).toBe(403);
});

it('refuses a presigned URL whose time is over, for another method, and a request without a signature', async () => {
  const command = new GetObjectCommand({ Bucket, Key: 'c' });
  const old = await getSignedUrl(client, command, {
    expiresIn: 60,
    signingDate: new Date(Date.now() - 61_000),
  });
  expect(await (await fetch(old)).text()).toContain('Request has expired');
  const fresh = await getSignedUrl(client, command, { expiresIn: 60 });
  expect((await fetch(fresh, { method: 'DELETE' })).status).toBe(403);
  expect((await fetch(`${server.url}/${Bucket}/c`)).status).toBe(403);
});

it('refuses an unsigned header that would change what is asked', async () => {
  const url = await getSignedUrl(client, new PutObjectCommand({ Bucket, Key: 'd' }), { expiresIn: 60 });
  const headers = { 'x-amz-copy-source': `/${Bucket}/c` };
  expect((await fetch(url, { method: 'PUT', headers })).status).toBe(403);
});

it('refuses a wrong secret, another region and a clock that is an hour wrong', async () => {
  const refusal = async (rest: S3ClientConfig): Promise<string> => {
    const other = open(rest);
    const get = other.send(new GetObjectCommand({ Bucket, Key: 'c' }));
    const name = await get.then(
      () => 'taken',
      (error: Error) => error.name,
    );
    other.destroy();
    return name;
  };
  const { accessKeyId } = server;
  expect(await refusal({ credentials: { accessKeyId, secretAccessKey: 'wrong' } })).toBe(
    'SignatureDoesNotMatch',
  );
  expect(await refusal({ region: 'eu-west-1' })).toBe('AuthorizationHeaderMalformed');
  expect(await refusal({ systemClockOffset: 3_600_000 })).toBe('RequestTimeTooSkewed');
});

it('puts only where nothing is, copies, and deletes many', async () => {
  await client.send(new PutObjectCommand({ Bucket, Key: 'e', Body: 'first', IfNoneMatch: '*' }));
  const again = client.send(new PutObjectCommand({ Bucket, Key: 'e', Body: 'second', IfNoneMatch: '*' }));
  await expect(again).rejects.toMatchObject({ name: 'PreconditionFailed' });
  await client.send(new CopyObjectCommand({ Bucket, Key: 'f', CopySource: `/${Bucket}/e` }));
  expect((await get('f')).toString()).toBe('first');
  const Objects = [{ Key: 'e' }, { Key: 'f' }];
  await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
  await expect(get('e')).rejects.toMatchObject({ name: 'NoSuchKey' });
  await expect(get('f')).rejects.toMatchObject({ name: 'NoSuchKey' });
});

it('joins parts in order, refuses small ones, and forgets what is aborted', async () => {
  const Key = 'parts';
  const parts = [randomBytes(5 * 1024 * 1024), randomBytes(10)];
  const begin = async (): Promise<string> =>
    (await client.send(new CreateMultipartUploadCommand({ Bucket, Key }))).UploadId!;
  const send = async (UploadId: string, Body: Buffer, PartNumber: number) => ({
    PartNumber,
    ETag: (await client.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }))).ETag!,
  });
  const complete = (UploadId: string, Parts: { PartNumber: number; ETag: string }[]) =>
    client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }));
  const first = await begin();
  const sent = [await send(first, parts[0]!, 1), await send(first, parts[1]!, 2)];
  await expect(complete(first, sent.toReversed())).rejects.toMatchObject({ name: 'InvalidPart' });
  await complete(first, sent);
  expect((await get(Key)).equals(Buffer.concat(parts))).toBe(true);
  const second = await begin();
  const small = [await send(second, parts[1]!, 1), await send(second, parts[1]!, 2)];
  await expect(complete(second, small)).rejects.toMatchObject({ name: 'EntityTooSmall' });
  const list = async () => (await client.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads ?? [];
  expect((await list()).map(({ UploadId }) => UploadId)).toEqual([second]);
  await client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId: second }));
  expect(await list()).toEqual([]);
});
