import { lookup, Resolver } from 'node:dns/promises';

/** The addresses of a name, IPv4 and IPv6, none of them judged. Rejects with the resolver's own error. */
export type Resolve = (name: string, how: { allowed: boolean; signal: AbortSignal }) => Promise<string[]>;

const TIMEOUT_MS = 2_000;
const TRIES = 2;

/**
 * Strangers' names are asked for without the system's resolver: that one occupies a thread until it has an answer, and a name
 * server that never gives one would keep everybody else in this process waiting. It also knows names of the local network
 * (/etc/hosts, search domains), which are what an operator means by an allowed host.
 * @param servers instead of those of this machine, `address:port`
 */
export function systemResolve(servers?: readonly string[]): Resolve {
  return async (name, { allowed, signal }) =>
    allowed && servers === undefined
      ? (await lookup(name, { all: true })).map(({ address }) => address)
      : ask(name, servers, signal);
}

async function ask(
  name: string,
  servers: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<string[]> {
  // One each: it reads the machine's servers as they are now, and can be canceled alone.
  const resolver = new Resolver({ timeout: TIMEOUT_MS, tries: TRIES });
  if (servers) resolver.setServers(servers);
  const cancel = (): void => resolver.cancel();
  signal.addEventListener('abort', cancel);
  try {
    const answers = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
    const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    if (found.length > 0) return found;
    const errors = answers.flatMap((answer) =>
      answer.status === 'rejected' ? [answer.reason as Error] : [],
    );
    throw errors.find((error) => !isAbsence(error)) ?? errors[0] ?? new Error('no address');
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}

/** The name servers say that there is no such name, or no address of it; else they did not answer. */
export function isAbsence(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return code === 'ENOTFOUND' || code === 'ENODATA' || code === 'EBADNAME';
}
