import { existsSync, readFileSync } from 'node:fs';
import type { FastifyInstance } from 'fastify';

/** For who finds our address in the log of a receiver: calls of webhooks name it. */
export function installDocs(app: FastifyInstance): void {
  const path = new URL('../../docs/webhooks.md', import.meta.url);
  // An installation may come without documents.
  if (!existsSync(path)) return;
  const text = readFileSync(path, 'utf8');
  app.get('/docs/webhooks', { schema: { hide: true } }, async (_request, reply) =>
    reply.type('text/markdown; charset=utf-8').send(text),
  );
}
