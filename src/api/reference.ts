// The page to read the API by. Its script is large and few open it, so it is loaded by the first who does.
import Fastify, { type FastifyInstance } from 'fastify';
import { AppError } from '../domain/errors.ts';

const CSP =
  "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src blob:";

const HERE = '/reference';

export function installReference(app: FastifyInstance): void {
  let page: Promise<FastifyInstance> | null = null;
  for (const url of [HERE, `${HERE}/*`]) {
    app.get(url, { schema: { hide: true } }, async (request, reply) => {
      page ??= openPage().catch((error: unknown) => {
        page = null;
        throw error;
      });
      const answer = await (await page).inject({ method: 'GET', url: request.url });
      if (answer.statusCode >= 400) throw new AppError('not_found');
      const { 'content-length': _length, connection: _connection, date: _date, ...headers } = answer.headers;
      // Its own scripts are inline, so it has a policy of its own.
      return reply
        .code(answer.statusCode)
        .headers({ ...headers, 'content-security-policy': CSP })
        .send(answer.rawPayload);
    });
  }
}

async function openPage(): Promise<FastifyInstance> {
  const { default: scalar } = await import('@scalar/fastify-api-reference');
  const page = Fastify();
  await page.register(scalar, {
    routePrefix: '/reference',
    logLevel: 'silent',
    configuration: {
      url: '/openapi.json',
      pageTitle: 'Millrace API',
      favicon: 'data:,',
      // Nothing that leads away from here, and nothing that would send the document anywhere.
      withDefaultFonts: false,
      showDeveloperTools: 'never',
      mcp: { disabled: true },
      proxyUrl: '',
      telemetry: false,
      agent: { disabled: true },
      hideClientButton: true,
    } as never,
  });
  await page.ready();
  return page;
}
