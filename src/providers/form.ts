// multipart/form-data with one file, streamed: the bytes of the file go from storage to the socket and are never whole in memory.
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { endingOf } from '../domain/media-types.ts';
import type { OpenedArtifact } from './provider.ts';

export interface Form {
  /** Name, value, name, value; with the length, so that nothing is sent in chunks. */
  headers: string[];
  body: Readable;
  /** Storage did not give the bytes: what came of the request says nothing of the vendor. */
  lost(): boolean;
}

/** @param fields those without a value are left out; what is no text is written as JSON */
export function formOf(
  fields: readonly (readonly [name: string, value: unknown])[],
  file: { name: string; artifact: OpenedArtifact },
): Form {
  // Not to be guessed: whoever knew it could write fields of his own into a file, a dearer model for one.
  const boundary = `millrace-${randomBytes(24).toString('hex')}`;
  const { head, tail } = around(boundary, fields, file);
  let lost = false;
  const parts = async function* () {
    yield head;
    try {
      yield* await file.artifact.open();
    } catch (error) {
      lost = true;
      throw error;
    }
    yield tail;
  };
  return {
    headers: [
      'content-type',
      `multipart/form-data; boundary=${boundary}`,
      'content-length',
      String(head.length + file.artifact.bytes + tail.length),
    ],
    body: Readable.from(parts(), { objectMode: false }),
    lost: () => lost,
  };
}

/** What stands before and after the file's bytes. */
function around(
  boundary: string,
  fields: readonly (readonly [name: string, value: unknown])[],
  { name, artifact }: { name: string; artifact: OpenedArtifact },
): { head: Buffer; tail: Buffer } {
  const parts = fields
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([field, value]) => {
      const text = typeof value === 'string' ? value : JSON.stringify(value);
      return `--${boundary}\r\ncontent-disposition: form-data; name="${field}"\r\n\r\n${text}\r\n`;
    });
  const type = /^[\w.+-]+\/[\w.+-]+$/.test(artifact.contentType)
    ? artifact.contentType
    : 'application/octet-stream';
  const ending = endingOf(type);
  const fileName = ending === undefined ? name : `${name}.${ending}`;
  const opening = `--${boundary}\r\ncontent-disposition: form-data; name="${name}"; filename="${fileName}"\r\ncontent-type: ${type}\r\n\r\n`;
  return { head: Buffer.from(parts.join('') + opening), tail: Buffer.from(`\r\n--${boundary}--\r\n`) };
}
