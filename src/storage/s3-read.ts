import { GetObjectCommand, type GetObjectCommandOutput, type S3Client } from '@aws-sdk/client-s3';
import { Readable } from 'node:stream';
import { isCut } from './s3-trouble.ts';

interface Source {
  Bucket: string;
  Key: string;
}

/** How often a read goes on where it was cut off. */
const RESUMES = 3;

/**
 * The bytes of an object, or of a range of it. The object was found when this resolves; a connection that breaks later is
 * taken up again where it broke, if it is still the same object.
 * @param how `tell` makes of what the SDK or the connection says what is thrown, here and by the stream
 */
export async function readObject(
  client: S3Client,
  source: Source,
  { range, tell }: { range: { start: number; end: number } | undefined; tell(error: unknown): Error },
): Promise<Readable> {
  const start = range?.start ?? 0;
  const get = (from: number, etag?: string): Promise<GetObjectCommandOutput> =>
    client.send(
      new GetObjectCommand({
        ...source,
        ...((range !== undefined || from > 0) && { Range: `bytes=${from}-${range?.end ?? ''}` }),
        ...(etag !== undefined && { IfMatch: etag }),
      }),
    );
  const told = (error: unknown): never => {
    throw tell(error);
  };
  const first = await get(start).catch(told);
  const expected = first.ContentLength ?? Number.NaN;
  async function* chunks(): AsyncGenerator<Buffer> {
    let answer = first;
    let sent = 0;
    for (let cuts = 0; ;) {
      const body = answer.Body as Readable;
      try {
        for await (const chunk of body as AsyncIterable<Buffer>) {
          sent += chunk.length;
          yield chunk;
        }
        // A server that closes early without an error has sent less than it said.
        if (sent < expected) throw new Error('aborted');
        return;
      } catch (error) {
        if (++cuts > RESUMES || !isCut(error)) throw tell(error);
      } finally {
        body.destroy();
      }
      answer = await get(start + sent, first.ETag).catch(told);
    }
  }
  const content = Readable.from(chunks(), { objectMode: false });
  // Whoever does not read it to its end may never have begun: then the generator has not either, and ends nothing.
  content.once('close', () => (first.Body as Readable).destroy());
  return content;
}
