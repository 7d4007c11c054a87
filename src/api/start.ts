import { announceAddress, type Platform } from '../platform.ts';
import type { Address } from '../context.ts';
import { openApi } from './app.ts';

export interface RunningApi {
  url: string;
  close(): Promise<void>;
}

/** Listens, and tells everybody where. @param address filled in once it is known */
export async function startApi({ ctx, simUrl }: Platform, address: Address): Promise<RunningApi> {
  const { app, close } = await openApi(ctx, { simUrl });
  const { host, port } = ctx.config;
  await app.listen({ host, port });
  const bound = app.server.address();
  const name = host.includes(':') ? `[${host}]` : host;
  address.url = `http://${name}:${typeof bound === 'object' ? bound?.port : port}`;
  await announceAddress(ctx);
  return { url: ctx.publicUrl(), close };
}
