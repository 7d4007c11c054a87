import { readFileSync } from 'node:fs';
import type { FastifyInstance } from 'fastify';

/** For who finds our address in the log of a receiver: calls of webhooks name it. */
export function installDocs(app: FastifyInstance): void {
  const text = readFileSync(new URL('../../docs/webhooks.md', import.meta.url), 'utf8');
  app.get('/docs/webhooks', { schema: { hide: true } }, async (_request, reply) =>
    reply.type('text/markdown; charset=utf-8').send(text),
  );
}
