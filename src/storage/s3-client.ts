import { S3Client } from '@aws-sdk/client-s3';
import type { S3Place } from './s3-trouble.ts';

export interface S3Options extends S3Place {
  /** Before every name in the bucket; empty, or ends in `/`. */
  prefix: string;
  /** Where clients reach the bucket; null: nowhere but at AWS itself. */
  publicEndpoint: string | null;
  /** A connection on which nothing moves for so long is given up. */
  idleMs?: number;
  /** Objects that are read at once. */
  readers?: number;
}

const CONNECT_MS = 3_000;
const IDLE_MS = 20_000;
/** As many as jobs and requests of one process may want at once; more wait for a socket. */
const SOCKETS = 100;
/**
 * A client that stops reading holds the connection of what it reads for a minute and more. So reading has connections of its own,
 * more than clients have here, and stored can still be, whatever they do.
 */
const READERS = 2_000;
/** Of one request, the first included. */
const ATTEMPTS = 3;

/** @param way `endpoint` null: AWS itself. Credentials come the AWS way. */
export function openS3Client(
  { region, idleMs = IDLE_MS, readers = READERS }: S3Options,
  { endpoint, reads = false }: { endpoint: string | null; reads?: boolean },
): S3Client {
  const agent = { keepAlive: true, maxSockets: reads ? readers : SOCKETS };
  return new S3Client({
    region,
    // A name before the host is DNS that only AWS and few others have.
    ...(endpoint !== null && { endpoint, forcePathStyle: true }),
    maxAttempts: ATTEMPTS,
    // By default a URL for a PUT would carry the checksum of no bytes at all; and servers that are not AWS's may not know
    // the trailers that streams would have. Bodies are held to their hashes without (s3-write.ts).
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: CONNECT_MS,
      socketTimeout: idleMs,
      httpAgent: agent,
      httpsAgent: agent,
    },
  });
}
