// What a worker alone says of itself: /metrics and /healthz, on a port of their own.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Context } from '../context.ts';
import { rootOf } from '../domain/address.ts';
import { METRICS_TYPE, openProcessMetrics } from '../metrics.ts';

export interface MetricsServer {
  url: string;
  close(): Promise<void>;
}

/** @throws Error with a way out */
export async function serveMetrics(ctx: Context, port: number): Promise<MetricsServer> {
  const metrics = openProcessMetrics(ctx);
  const answers: Record<string, { type: string; text(): Promise<string> }> = {
    '/metrics': { type: METRICS_TYPE, text: metrics.text },
    '/healthz': { type: 'application/json; charset=utf-8', text: async () => '{"ok":true}' },
  };
  const server = createServer((request, response) => {
    const found = request.method === 'GET' ? answers[request.url ?? ''] : undefined;
    request.resume();
    if (!found) return void response.writeHead(404).end();
    found.text().then(
      (text) => response.writeHead(200, { 'content-type': found.type }).end(text),
      (error: Error) => {
        ctx.log.error({ err: error }, 'the metrics could not be told');
        response.writeHead(500).end();
      },
    );
  });
  const { host } = ctx.config;
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (error) {
    throw new Error(
      `METRICS_PORT=${port} of ${host} cannot be listened on (${String((error as { code?: unknown }).code)}). ` +
        'Choose another, or 0 for any that is free.',
      { cause: error },
    );
  }
  return {
    url: rootOf(host, (server.address() as AddressInfo).port),
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
