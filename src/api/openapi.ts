// The OpenAPI document, from the very schemas that validate, and a page to read it by.
import swagger from '@fastify/swagger';
import type { FastifyInstance, FastifySchema } from 'fastify';
import { INPUTS } from '../domain/submission.ts';
import { type Api, VERSION } from './api.ts';
import { installDocs } from './docs.ts';
import { isForOperators } from './doors.ts';
import { EXAMPLES } from './examples.ts';
import { JSON_TYPE } from './headers.ts';
import { installReference } from './reference.ts';
import { ErrorAnswer } from './shapes.ts';

export async function installOpenApi(app: FastifyInstance, { ctx, isOperators }: Api): Promise<void> {
  app.addHook('onRoute', ({ url, schema }) => {
    if (!url.startsWith('/v1/') || !schema) return;
    // Where nothing may be asked for, what is asked for is unknown.
    schema.querystring ??= { type: 'object', properties: {}, additionalProperties: false };
    schema.response = { ...(schema.response as object), '4xx': ErrorAnswer, '5xx': ErrorAnswer };
  });
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Millrace',
        version: 'v1',
        description: 'Paid, asynchronous AI generation: submit a job, and be told when it is done.',
        license: { name: 'MIT', identifier: 'MIT' },
      },
      components: {
        securitySchemes: {
          key: {
            type: 'http',
            scheme: 'bearer',
            description: 'An account key, or on /v1/admin an operator key.',
          },
          ticket: {
            type: 'apiKey',
            in: 'query',
            name: 'ticket',
            description: 'From POST /v1/tickets: for browsers, which can send no header there.',
          },
        },
      },
      security: [{ key: [] }],
      tags: [
        { name: 'jobs', description: 'Submit, follow and cancel jobs' },
        { name: 'events', description: 'What happened, live and again' },
        { name: 'webhooks', description: 'Events, brought to you' },
        { name: 'artifacts', description: 'Bytes that go in or come out' },
        { name: 'account', description: 'Balance, limits, movements' },
        { name: 'models', description: 'What can be asked for' },
        { name: 'admin', description: 'For operators' },
        { name: 'service', description: 'Health and metrics' },
      ],
    },
    transform: ({ schema, url }) => nameWildcard(schema as FastifySchema, url),
    transformObject: (document) =>
      'openapiObject' in document ? completed(document.openapiObject) : document.swaggerObject,
  });
  app.get('/openapi.json', { schema: { hide: true } }, async (request, reply) => {
    const whole = app.swagger();
    const both = ctx.config.adminPort === null;
    // Where we are reached is known once we listen; the operators' port, to who asks there.
    const servers = [{ url: both || !isOperators(request) ? ctx.publicUrl() : '/' }];
    const document = { ...(isOperators(request) ? whole : forClients(whole)), servers };
    return reply.type(JSON_TYPE).send(JSON.stringify(document));
  });
  // For who comes without an address.
  app.get('/', { schema: { hide: true } }, async () => {
    const root = ctx.publicUrl();
    return {
      name: 'Millrace',
      version: VERSION,
      reference: `${root}/reference`,
      openapi: `${root}/openapi.json`,
    };
  });
  installReference(app);
  installDocs(app);
}

/** Without what another port serves. */
function forClients<D extends { paths?: object; tags?: { name: string }[] }>(document: D): D {
  const paths = Object.entries(document.paths ?? {}).filter(([path]) => !isForOperators(path));
  const tags = document.tags?.filter(({ name }) => name !== 'admin');
  return { ...document, paths: Object.fromEntries(paths), tags };
}

/** The router's `*`, which takes slashes, is to readers a parameter like any other. */
function nameWildcard(schema: FastifySchema, url: string): { schema: FastifySchema; url: string } {
  const params = schema?.params as { properties?: Record<string, unknown> } | undefined;
  if (!url.includes('*') || !params?.properties) return { schema, url };
  const { '*': id, ...rest } = params.properties;
  const named = { ...params, required: ['id'], properties: { ...rest, id } };
  return { schema: { ...schema, params: named }, url: url.replace('*', ':id') };
}

interface Content {
  schema: { properties: Record<string, object> };
  examples?: Record<string, { value: object }>;
}

interface Operation {
  parameters?: object[];
  requestBody?: { content: Record<string, Content> };
}

/** Says what the schemas that validate leave to code: the filter by metadata, each kind's input, and examples. */
function completed<D extends { paths?: object }>(document: D): D {
  const paths = document.paths as Record<string, Record<string, Operation>>;
  const bodyOf = (path: string) => paths[path]?.['post']?.requestBody?.content['application/json']?.schema;
  const inputs = Object.entries(INPUTS).map(([title, schema]) => ({ title, ...schema }));
  const input = { anyOf: inputs, description: 'By the kind of the model.' };
  const job = bodyOf('/v1/jobs');
  const jobs = bodyOf('/v1/jobs/batch');
  if (!job || !jobs) throw new Error('the document lacks the submission of jobs');
  job.properties = { ...job.properties, input };
  jobs.properties['jobs'] = { ...jobs.properties['jobs'], items: job };
  paths['/v1/jobs']?.['get']?.parameters?.push({
    in: 'query',
    name: 'metadata',
    style: 'deepObject',
    explode: true,
    schema: { type: 'object', additionalProperties: { type: 'string', maxLength: 500 } },
    description: 'By a value of the metadata: `metadata[order]=77`.',
  });
  for (const [named, examples] of Object.entries(EXAMPLES)) {
    const [method = '', path = ''] = named.split(' ');
    const content = paths[path]?.[method.toLowerCase()]?.requestBody?.content['application/json'];
    if (!content) throw new Error(`there is an example of ${named}, which takes no body`);
    content.examples = Object.fromEntries(Object.entries(examples).map(([name, value]) => [name, { value }]));
  }
  return document;
}
