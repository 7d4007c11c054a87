import type { AddressInfo, Server } from 'node:net';
import { isEveryAddress, rootOf } from '../domain/address.ts';
import { announceAddress, type Platform } from '../platform.ts';
import type { Address } from '../context.ts';
import { openApi } from './app.ts';

export interface RunningApi {
  url: string;
  /** Of ADMIN_PORT, where that is set. */
  adminUrl: string | null;
  close(): Promise<void>;
}

/** Listens, and tells everybody where. @param address filled in once it is known @throws Error with a way out */
export async function startApi({ ctx, simUrl }: Platform, address: Address): Promise<RunningApi> {
  const { app, admin, close } = await openApi(ctx, { simUrl });
  const { host, port, adminHost, adminPort } = ctx.config;
  try {
    await app
      .listen({ host, port })
      .catch((error: Error) => cannotListen(error, { variable: 'PORT', host, port }));
    if (admin && adminPort !== null)
      await listen(admin, { host: adminHost, port: adminPort }).catch((error: Error) =>
        cannotListen(error, { variable: 'ADMIN_PORT', host: adminHost, port: adminPort }),
      );
  } catch (error) {
    await close();
    throw error;
  }
  address.url = rootOf(host, portOf(app.server));
  const adminUrl = admin && rootOf(adminHost, portOf(admin));
  if (adminUrl !== null) ctx.log.info(`operators' port at ${adminUrl}: /v1/admin, /metrics, /readyz`);
  if (isEveryAddress(host) && ctx.config.publicUrl === null)
    ctx.log.warn(
      `HOST=${host} listens on every address, none of which is the one to tell clients: links name ${address.url}, which leads ` +
        'here from this machine alone. Set PUBLIC_URL to the root that clients use.',
    );
  const announced = await announceAddress(ctx);
  return {
    url: ctx.publicUrl(),
    adminUrl,
    async close() {
      announced.close();
      await close();
    },
  };
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

function listen(server: Server, at: { host: string; port: number }): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen(at, () => {
    server.off('error', reject);
    resolve();
  });
  return promise;
}

function cannotListen(
  error: Error & { code?: string },
  { variable, host, port }: { variable: 'PORT' | 'ADMIN_PORT'; host: string; port: number },
): never {
  const hostVariable = variable === 'PORT' ? 'HOST' : 'ADMIN_HOST';
  const noHost = `${hostVariable}=${host} is no address that this machine knows. Take 127.0.0.1, or 0.0.0.0 for all it has.`;
  const remedies: Record<string, string> = {
    EADDRINUSE: `Port ${port} of ${host} is in use. Stop what uses it, or choose another: ${variable}=${port + 1}, or ${variable}=0 for any that is free.`,
    EACCES: `Port ${port} is not this user's to take. Choose one above 1023, such as ${variable}=8080.`,
    EADDRNOTAVAIL: noHost,
    ENOTFOUND: noHost,
    EAI_AGAIN: noHost,
  };
  const text =
    remedies[error.code ?? ''] ?? `The API cannot listen on port ${port} of ${host}: ${error.message}`;
  throw new Error(text, { cause: error });
}
