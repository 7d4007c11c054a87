// What each request to a bucket or an object comes to.
import type { Bucket, StoredObject } from './bucket.ts';
import { S3Refusal } from './fault.ts';

export interface S3Request {
  method: string;
  bucket: Bucket;
  /** All of them, for copies. */
  bucketOf(name: string): Bucket;
  /** Empty: the bucket itself is meant. */
  key: string;
  query: URLSearchParams;
  headers: Record<string, string>;
  body: Buffer;
  /** The most that one page of a list holds. */
  pageSize: number;
}

export interface S3Answer {
  status: number;
  headers?: Record<string, string>;
  body?: Buffer | string;
}

/** @throws S3Refusal */
export function perform(request: S3Request): S3Answer {
  return request.key === '' ? onBucket(request) : onObject(request);
}

function onBucket(request: S3Request): S3Answer {
  const { method, query, bucket, body } = request;
  if (method === 'HEAD') return { status: 200 };
  if (method === 'GET' && query.has('uploads')) return listUploads(request);
  if (method === 'GET') return listObjects(request);
  if (method === 'POST' && query.has('delete')) {
    for (const key of between(body.toString(), 'Key')) bucket.objects.delete(key);
    return xml('<DeleteResult/>');
  }
  throw new S3Refusal('MethodNotAllowed');
}

function onObject(request: S3Request): S3Answer {
  const { method, query, bucket, key, headers, body } = request;
  const uploadId = query.get('uploadId');
  const type = headers['content-type'] ?? 'binary/octet-stream';
  if (method === 'POST' && query.has('uploads')) {
    const { id } = bucket.begin(key, type);
    return xml(`<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`);
  }
  if (uploadId !== null) {
    const upload = bucket.upload(uploadId, key);
    if (method === 'PUT')
      return {
        status: 200,
        headers: { etag: bucket.addPart(upload, Number(query.get('partNumber')), body) },
      };
    if (method === 'DELETE') {
      bucket.uploads.delete(uploadId);
      return { status: 204 };
    }
    if (method !== 'POST') throw new S3Refusal('MethodNotAllowed');
    const text = body.toString();
    const etags = between(text, 'ETag');
    const listed = between(text, 'PartNumber').map((n, i) => ({ number: Number(n), etag: etags[i] ?? '' }));
    const { etag } = bucket.complete(upload, listed);
    return xml(`<CompleteMultipartUploadResult><ETag>${escape(etag)}</ETag></CompleteMultipartUploadResult>`);
  }
  switch (method) {
    case 'PUT':
      return putObject(request, type);
    case 'GET':
    case 'HEAD':
      return getObject(request, bucket.get(key));
    case 'DELETE':
      bucket.objects.delete(key);
      return { status: 204 };
    default:
      throw new S3Refusal('MethodNotAllowed');
  }
}

function putObject({ bucket, bucketOf, key, headers, body }: S3Request, type: string): S3Answer {
  if (headers['if-none-match'] === '*' && bucket.objects.has(key)) throw new S3Refusal('PreconditionFailed');
  const from = headers['x-amz-copy-source'];
  if (from === undefined) return { status: 200, headers: { etag: bucket.put(key, body, type).etag } };
  const [, name = '', sourceKey = ''] = /^\/?([^/]+)\/(.+)$/.exec(decodeURIComponent(from)) ?? [];
  const source = bucketOf(name).get(sourceKey);
  const { etag, modified } = bucket.put(key, source.body, source.contentType);
  return xml(
    `<CopyObjectResult><ETag>${escape(etag)}</ETag><LastModified>${modified.toISOString()}</LastModified></CopyObjectResult>`,
  );
}

function getObject({ headers, query }: S3Request, object: StoredObject): S3Answer {
  const { body, etag, contentType, modified } = object;
  const wanted = headers['if-match'];
  if (wanted !== undefined && wanted !== etag && wanted !== '*') throw new S3Refusal('PreconditionFailed');
  const shown: Record<string, string> = {
    'accept-ranges': 'bytes',
    etag,
    'last-modified': modified.toUTCString(),
    'content-type': query.get('response-content-type') ?? contentType,
  };
  for (const name of ['content-disposition', 'cache-control']) {
    const value = query.get(`response-${name}`);
    if (value !== null) shown[name] = value;
  }
  const range = /^bytes=(\d*)-(\d*)$/.exec(headers['range'] ?? '');
  if (!range) return { status: 200, headers: shown, body };
  const [, first = '', last = ''] = range;
  const start = first === '' ? Math.max(0, body.length - Number(last)) : Number(first);
  const end = first === '' || last === '' ? body.length - 1 : Math.min(Number(last), body.length - 1);
  if (start > end) throw new S3Refusal('InvalidRange');
  shown['content-range'] = `bytes ${start}-${end}/${body.length}`;
  return { status: 206, headers: shown, body: body.subarray(start, end + 1) };
}

function listObjects({ bucket, query, pageSize }: S3Request): S3Answer {
  const prefix = query.get('prefix') ?? '';
  const after = query.get('continuation-token') ?? query.get('start-after') ?? '';
  const keys = [...bucket.objects.keys()].filter((key) => key.startsWith(prefix) && key > after).toSorted();
  const page = keys.slice(0, Math.min(pageSize, Number(query.get('max-keys') ?? pageSize)));
  const more = page.length < keys.length;
  const contents = page.map((key) => {
    const { etag, body, modified } = bucket.get(key);
    return `<Contents><Key>${escape(key)}</Key><LastModified>${modified.toISOString()}</LastModified><ETag>${escape(etag)}</ETag><Size>${body.length}</Size></Contents>`;
  });
  const next = more ? `<NextContinuationToken>${escape(page.at(-1) ?? '')}</NextContinuationToken>` : '';
  return xml(
    `<ListBucketResult><KeyCount>${page.length}</KeyCount><IsTruncated>${more}</IsTruncated>${next}${contents.join('')}</ListBucketResult>`,
  );
}

function listUploads({ bucket, query, pageSize }: S3Request): S3Answer {
  const prefix = query.get('prefix') ?? '';
  const [afterKey, afterId] = [query.get('key-marker') ?? '', query.get('upload-id-marker') ?? ''];
  const all = [...bucket.uploads.values()]
    .filter(({ key }) => key.startsWith(prefix))
    .toSorted((a, b) => (a.key < b.key || (a.key === b.key && a.id < b.id) ? -1 : 1))
    .filter(({ key, id }) => key > afterKey || (key === afterKey && id > afterId));
  const page = all.slice(0, pageSize);
  const last = page.at(-1);
  const more = page.length < all.length;
  const next =
    more && last
      ? `<NextKeyMarker>${escape(last.key)}</NextKeyMarker><NextUploadIdMarker>${last.id}</NextUploadIdMarker>`
      : '';
  const uploads = page.map(
    ({ key, id, initiated }) =>
      `<Upload><Key>${escape(key)}</Key><UploadId>${id}</UploadId><Initiated>${initiated.toISOString()}</Initiated></Upload>`,
  );
  return xml(
    `<ListMultipartUploadsResult><IsTruncated>${more}</IsTruncated>${next}${uploads.join('')}</ListMultipartUploadsResult>`,
  );
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
export const escape = (text: string): string => text.replace(/[&<>"]/g, (char) => ENTITIES[char] as string);
const unescape = (text: string): string =>
  text.replace(
    /&(?:amp|lt|gt|quot);/g,
    (entity) => Object.keys(ENTITIES).find((char) => ENTITIES[char] === entity) as string,
  );

/** The texts of all elements of that name. */
const between = (text: string, name: string): string[] =>
  [...text.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, 'g'))].map(([, inner]) => unescape(inner ?? ''));

const xml = (inner: string): S3Answer => ({
  status: 200,
  headers: { 'content-type': 'application/xml' },
  body: `<?xml version="1.0" encoding="UTF-8"?>\n${inner}`,
});
