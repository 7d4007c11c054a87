import { isEveryAddress, rootOf } from '../domain/address.ts';
import { announceAddress, type Platform } from '../platform.ts';
import type { Address } from '../context.ts';
import { openApi } from './app.ts';

export interface RunningApi {
  url: string;
  close(): Promise<void>;
}

/** Listens, and tells everybody where. @param address filled in once it is known @throws Error with a way out */
export async function startApi({ ctx, simUrl }: Platform, address: Address): Promise<RunningApi> {
  const { app, close } = await openApi(ctx, { simUrl });
  const { host, port } = ctx.config;
  try {
    await app.listen({ host, port });
  } catch (error) {
    await close();
    throw cannotListen(error as Error & { code?: string }, { host, port });
  }
  const bound = app.server.address();
  address.url = rootOf(host, (typeof bound === 'object' && bound?.port) || port);
  if (isEveryAddress(host) && ctx.config.publicUrl === null)
    ctx.log.warn(
      `HOST=${host} listens on every address, none of which is the one to tell clients: links name ${address.url}, which leads ` +
        'here from this machine alone. Set PUBLIC_URL to the root that clients use.',
    );
  const announced = await announceAddress(ctx);
  return {
    url: ctx.publicUrl(),
    async close() {
      announced.close();
      await close();
    },
  };
}

function cannotListen(
  error: Error & { code?: string },
  { host, port }: { host: string; port: number },
): Error {
  const noHost = `HOST=${host} is no address that this machine knows. Take 127.0.0.1, or 0.0.0.0 for all it has.`;
  const remedies: Record<string, string> = {
    EADDRINUSE: `Port ${port} of ${host} is in use. Stop what uses it, or choose another: PORT=${port + 1}, or PORT=0 for any that is free.`,
    EACCES: `Port ${port} is not this user's to take. Choose one above 1023, such as PORT=8080.`,
    EADDRNOTAVAIL: noHost,
    ENOTFOUND: noHost,
    EAI_AGAIN: noHost,
  };
  const text =
    remedies[error.code ?? ''] ?? `The API cannot listen on port ${port} of ${host}: ${error.message}`;
  return new Error(text, { cause: error });
}
