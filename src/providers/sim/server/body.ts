import type { IncomingMessage } from 'node:http';

/** Calls back with the whole body, with null if it is larger than `most`; never, if the caller goes away before its end. */
export function readBody(request: IncomingMessage, most: number, done: (body: Buffer | null) => void): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= most) chunks.push(chunk);
  });
  request.on('error', () => {}); // the end of its socket is seen elsewhere
  request.on('end', () =>
    done(bytes > most ? null : chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)),
  );
}
