// A connection to a target: its name is asked for once, every answer is judged, and what is dialled is one of them.
import { connect as connectTcp, type LookupFunction, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { arePublic, canonical } from './address.ts';
import type { Refusal } from './egress.ts';
import type { Target } from './judge.ts';
import { isAbsence, type Resolve } from './resolve.ts';

/** Dialled one after the other if need be; a name with more is no reason to knock at a hundred doors. */
const MOST_ADDRESSES = 4;

/** Not for the far side's faults, but for ours to refuse. */
export class Refused extends Error {
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusal);
    this.refusal = refusal;
  }
}

/**
 * A socket, over TLS if the target is https, to an address that was judged.
 * @throws Refused private_address, unresolvable; else the error of the resolver (code EDNS), the connection or TLS
 */
export async function dial(
  target: Target,
  { resolve, signal }: { resolve: Resolve; signal: AbortSignal },
): Promise<Socket> {
  const addresses = await addressesOf(target, { resolve, signal });
  const socket = await connected(tcp(target, addresses), 'connect', signal);
  // Whatever became of the addresses on the way: what is at the other end is what counts.
  const remote = canonical(socket.remoteAddress ?? '');
  // Reset in the same moment: there is nobody any more.
  if (remote === null) throw Object.assign(new Error('closed'), { code: 'ECONNRESET' });
  if (!addresses.some((address) => canonical(address) === remote)) {
    socket.destroy();
    throw new Refused('private_address');
  }
  if (!target.secure) return socket;
  const secured = connectTls({
    socket,
    host: target.host,
    ...(target.literal ? {} : { servername: target.host }),
    ALPNProtocols: ['http/1.1'],
    rejectUnauthorized: true,
  });
  return connected(secured, 'secureConnect', signal).catch((error: unknown) => {
    socket.destroy();
    throw error;
  });
}

async function addressesOf(
  { host, literal, allowed }: Target,
  { resolve, signal }: { resolve: Resolve; signal: AbortSignal },
): Promise<string[]> {
  signal.throwIfAborted();
  const found = literal ? [host] : await named(host, { resolve, signal, allowed });
  signal.throwIfAborted();
  if (found.length === 0) throw new Refused('unresolvable');
  if (!allowed && !arePublic(found)) throw new Refused('private_address');
  return found.slice(0, MOST_ADDRESSES);
}

async function named(
  host: string,
  { resolve, ...how }: { resolve: Resolve; signal: AbortSignal; allowed: boolean },
): Promise<string[]> {
  const { signal } = how;
  let stop = (): void => {};
  const stopped = new Promise<never>((_, reject) => (stop = () => reject(new Error('aborted'))));
  signal.addEventListener('abort', stop);
  try {
    // The system's resolver cannot be stopped, but need not be waited for.
    return await Promise.race([resolve(host, how), stopped]);
  } catch (error) {
    if (isAbsence(error)) throw new Refused('unresolvable');
    throw Object.assign(new Error('name servers do not answer', { cause: error }), { code: 'EDNS' });
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** The judged addresses are all that this connection can know of the name. */
function tcp({ host, literal, port }: Target, addresses: readonly string[]): Socket {
  const answers = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
  const lookup: LookupFunction = (_, { all }, callback) =>
    all ? callback(null, answers) : callback(null, answers[0]!.address, answers[0]!.family);
  return connectTcp({
    host: literal ? addresses[0]! : host,
    port,
    lookup,
    autoSelectFamily: true,
    noDelay: true,
  });
}

function connected<S extends Socket>(
  socket: S,
  event: 'connect' | 'secureConnect',
  signal: AbortSignal,
): Promise<S> {
  return new Promise((resolve, reject) => {
    const end = (error: unknown): void => {
      signal.removeEventListener('abort', onAbort);
      socket.destroy();
      reject(error instanceof Error ? error : new Error('closed'));
    };
    const onAbort = (): void => end(new Error('aborted'));
    const onClose = (): void => end(Object.assign(new Error('closed'), { code: 'ECONNRESET' }));
    // For as long as it lives: one may come when nobody listens, between two hands or after its end.
    socket.on('error', () => {});
    if (signal.aborted) return end(new Error('aborted'));
    signal.addEventListener('abort', onAbort);
    socket.once('error', end);
    socket.once('close', onClose);
    socket.once(event, () => {
      signal.removeEventListener('abort', onAbort);
      socket.off('close', onClose);
      socket.off('error', end);
      resolve(socket);
    });
  });
}
