import { createServer } from 'node:net';
import { EmbeddedError } from './error.ts';

/**
 * A TCP port of 127.0.0.1 that was free a moment ago: `preferred` if it still is, else one of the system's choice.
 * A service that comes back where it was is found again by connection pools that outlived it.
 */
export async function freePort(preferred: number | null = null): Promise<number> {
  if (preferred !== null && (await tryPort(preferred)) !== null) return preferred;
  const port = await tryPort(0);
  if (port === null) throw new EmbeddedError('no TCP port is free on 127.0.0.1');
  return port;
}

async function tryPort(port: number): Promise<number | null> {
  const { promise, resolve } = Promise.withResolvers<number | null>();
  const server = createServer();
  server.once('error', () => resolve(null));
  server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
    const address = server.address();
    const taken = typeof address === 'object' && address !== null ? address.port : null;
    server.close(() => resolve(taken));
  });
  return promise;
}
