// A body as it came on the wire, and what of it is the object: unframed, and held to every hash it came with.
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { S3Refusal } from './fault.ts';

interface Sent {
  headers: Record<string, string>;
  query: URLSearchParams;
}

/** @param signedHash of the payload, by the signature @throws S3Refusal if any hash is another */
export function payloadOf(raw: Buffer, signedHash: string, { headers, query }: Sent): Buffer {
  if (signedHash === 'STREAMING-UNSIGNED-PAYLOAD-TRAILER') {
    const { body, trailers } = unframe(raw);
    if (body.length !== Number(headers['x-amz-decoded-content-length']))
      throw new S3Refusal('IncompleteBody');
    const promised = headers['x-amz-trailer'];
    if (promised !== undefined && !(promised in trailers)) throw new S3Refusal('InvalidRequest', promised);
    assertChecksums(body, trailers);
    return body;
  }
  if (signedHash !== 'UNSIGNED-PAYLOAD') {
    if (!/^[0-9a-f]{64}$/.test(signedHash)) throw new S3Refusal('NotImplemented', signedHash);
    if (hashOf('sha256', raw).toString('hex') !== signedHash)
      throw new S3Refusal('XAmzContentSHA256Mismatch');
  }
  // A presigned URL carries as parameters what a client could not add.
  assertChecksums(raw, { ...Object.fromEntries(query), ...headers });
  return raw;
}

const hashOf = (name: string, body: Buffer): Buffer => createHash(name).update(body).digest();

const CHECKSUMS: Record<string, (body: Buffer) => Buffer> = {
  'content-md5': (body) => hashOf('md5', body),
  'x-amz-checksum-sha1': (body) => hashOf('sha1', body),
  'x-amz-checksum-sha256': (body) => hashOf('sha256', body),
  'x-amz-checksum-crc32'(body) {
    const sum = Buffer.alloc(4);
    sum.writeUInt32BE(crc32(body));
    return sum;
  },
};

function assertChecksums(body: Buffer, given: Record<string, string>): void {
  for (const [name, compute] of Object.entries(CHECKSUMS)) {
    const value = given[name];
    if (value !== undefined && value !== compute(body).toString('base64'))
      throw new S3Refusal('BadDigest', name);
  }
}

/** aws-chunked: lengths in hexadecimal, pieces, a last piece of none, then headers. */
function unframe(raw: Buffer): { body: Buffer; trailers: Record<string, string> } {
  const pieces: Buffer[] = [];
  let at = 0;
  const line = (): string => {
    const end = raw.indexOf('\r\n', at);
    if (end < 0) throw new S3Refusal('IncompleteBody');
    const text = raw.toString('latin1', at, end);
    at = end + 2;
    return text;
  };
  for (;;) {
    const length = Number.parseInt(line().split(';')[0] as string, 16);
    if (length === 0) break;
    pieces.push(raw.subarray(at, at + length));
    at += length;
    if (line() !== '') throw new S3Refusal('IncompleteBody');
  }
  const trailers: Record<string, string> = {};
  for (let text = line(); text !== ''; text = at < raw.length ? line() : '') {
    const [name = '', value = ''] = text.split(/:(.*)/s);
    trailers[name.trim().toLowerCase()] = value.trim();
  }
  return { body: Buffer.concat(pieces), trailers };
}
