// A chat vendor of OpenAI's dialect that answers exactly the bytes it is given, and a model that is routed to it.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Client } from './client.ts';

export interface Vendor {
  /** Root of its API. */
  url: string;
  /** What it says next, and from then on. A list is streamed as server-sent events, a text is sent as it is. */
  says(answer: string | string[]): void;
  close(): Promise<void>;
}

/** @param model made on the platform, at 1 credit a token */
export async function startVendor(admin: Client, model: string): Promise<Vendor> {
  let answer: string | string[] = '';
  const server = createServer((request, response) => {
    request.resume();
    const streamed = Array.isArray(answer);
    response.writeHead(200, { 'content-type': streamed ? 'text/event-stream' : 'application/json' });
    const parts = Array.isArray(answer) ? [...answer, '[DONE]'].map((data) => `data: ${data}\n\n`) : [answer];
    for (const part of parts) response.write(part);
    response.end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const lines = ['input', 'output'].map((measure) => ({
    name: 'token',
    measure,
    credits_per_million: '1000000',
  }));
  await admin.send('PUT', `/v1/admin/models/${model}`, { body: { kind: 'chat' } });
  await admin.post('/v1/admin/prices', { model, lines });
  const url = `http://127.0.0.1:${port}/v1`;
  const route = { model, provider: 'openai', base_url: url };
  const { status, body } = await admin.post('/v1/admin/routes', route);
  if (status !== 201) throw new Error(JSON.stringify(body));
  return {
    url,
    says(next) {
      answer = next;
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
