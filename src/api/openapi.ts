// The OpenAPI document, from the very schemas that validate, and a page to read it by.
import swagger from '@fastify/swagger';
import type { FastifyInstance } from 'fastify';
import type { Context } from '../context.ts';

const CSP =
  "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src blob:";

export async function installOpenApi(app: FastifyInstance, ctx: Context): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Millrace',
        version: 'v1',
        description: 'Paid, asynchronous AI generation: submit a job, and be told when it is done.',
        license: { name: 'MIT', identifier: 'MIT' },
      },
      servers: [{ url: ctx.config.publicUrl ?? '/' }],
      components: {
        securitySchemes: {
          key: {
            type: 'http',
            scheme: 'bearer',
            description: 'An account key, or on /v1/admin an operator key.',
          },
        },
      },
      security: [{ key: [] }],
      tags: [
        { name: 'jobs', description: 'Submit, follow and cancel jobs' },
        { name: 'events', description: 'What happened, live and again' },
        { name: 'artifacts', description: 'Bytes that go in or come out' },
        { name: 'account', description: 'Balance, limits, movements' },
        { name: 'models', description: 'What can be asked for' },
        { name: 'admin', description: 'For operators' },
        { name: 'service', description: 'Health and metrics' },
      ],
    },
  });
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger());
  await app.register(async (scope) => {
    // The page's own scripts are inline, so it lives in a scope with a policy of its own.
    const { default: scalar } = await import('@scalar/fastify-api-reference');
    scope.addHook('onSend', async (_request, reply) => {
      reply.header('content-security-policy', CSP);
    });
    await scope.register(scalar, {
      routePrefix: '/reference',
      logLevel: 'silent',
      configuration: {
        url: '/openapi.json',
        withDefaultFonts: false,
        telemetry: false,
        agent: { disabled: true },
        hideClientButton: true,
      } as never,
    });
  });
}
