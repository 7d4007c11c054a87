import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { EmbeddedError } from './error.ts';

// Below the ports that systems give to outgoing connections: there one may sit on ours while we restart, and a client
// that calls again and again can even be given the very port it calls, and so answer itself.
const LOWEST = 20_000;
const HIGHEST = 32_000;

/**
 * A TCP port of 127.0.0.1 that was free a moment ago: `preferred` if it still is, else any.
 * A service that comes back where it was is found again by connection pools that outlived it.
 */
export async function freePort(preferred: number | null = null): Promise<number> {
  const wishes = Array.from({ length: 20 }, () => randomInt(LOWEST, HIGHEST));
  for (const wish of [...(preferred === null ? [] : [preferred]), ...wishes, 0]) {
    const port = await tryPort(wish);
    if (port !== null) return port;
  }
  throw new EmbeddedError('no TCP port is free on 127.0.0.1');
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
