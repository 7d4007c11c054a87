// The document is what the API does: every route, every parameter, every answer.
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openApi } from '../../src/api/app.ts';
import { newId } from '../../src/domain/ids.ts';
import { JOB_ERROR_CODES } from '../../src/domain/job.ts';
import { callbackToken } from '../../src/flow/callback.ts';
import { type Answer, chat, type Client, openClient } from '../support/client.ts';
import {
  type Document,
  type Operation,
  operationsOf,
  readDocument,
  type Schema,
} from '../support/document.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { delivery, makeEndpoint } from '../support/webhooks.ts';

let millrace: TestPlatform;
let receiver: Receiver;
let document: Document;
let operations: Operation[];
beforeAll(async () => {
  receiver = await startReceiver();
  millrace = await startPlatform({ env: { SWEEP_MS: '100', EGRESS_ALLOW: '127.0.0.1' } });
  document = await readDocument(openClient(millrace.url, null));
  operations = operationsOf(document);
});
afterAll(async () => {
  await millrace.stop();
  await receiver.close();
});

const named = ({ method, path }: Pick<Operation, 'method' | 'path'>): string => `${method} ${path}`;

describe('the document', () => {
  it('is OpenAPI 3.1 in its bones', () => {
    expect(document.openapi).toMatch(/^3\.1\.\d$/);
    expect(document.info).toMatchObject({ title: expect.any(String), version: expect.any(String) });
    for (const { url } of document.servers) expect(URL.canParse(url), url).toBe(true);
    const tags = document.tags.map(({ name }) => name);
    expect(new Set(tags).size).toBe(tags.length);
    const schemes = Object.keys(document.components.securitySchemes);
    for (const [path, methods] of Object.entries(document.paths)) {
      expect(path).toMatch(/^(\/([a-z0-9.-]+|\{\w+\}))+$/);
      for (const [method, raw] of Object.entries(methods)) {
        const what = `${method} ${path}`;
        expect(['get', 'put', 'post', 'delete', 'patch'], what).toContain(method);
        expect(raw.summary, what).toMatch(/\S/);
        for (const tag of raw.tags ?? []) expect(tags, what).toContain(tag);
        for (const way of raw.security ?? [])
          for (const name of Object.keys(way)) expect(schemes, what).toContain(name);
        for (const [status, answer] of Object.entries(raw.responses ?? {})) {
          expect(status, what).toMatch(/^([1-5](\d\d|XX)|default)$/);
          expect(answer, what).toHaveProperty('description', expect.any(String));
        }
        expect(Object.keys(raw.responses ?? {}).length, what).toBeGreaterThan(0);
      }
    }
  });

  it('names every parameter of a path, and each parameter once', () => {
    for (const operation of operations) {
      const inPath = [...operation.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      const named = operation.parameters.filter((parameter) => parameter.in === 'path');
      expect(named.map(({ name }) => name).toSorted(), operation.path).toEqual(inPath.toSorted());
      for (const parameter of named) expect(parameter.required, operation.path).toBe(true);
      const all = operation.parameters.map((parameter) => `${parameter.in} ${parameter.name}`);
      expect(new Set(all).size, operation.path).toBe(all.length);
    }
  });

  it('holds schemas of JSON Schema 2020-12 alone, and nothing of the validator', () => {
    const schemas = operations.flatMap((operation) => [
      ...(operation.body ? [operation.body] : []),
      ...operation.parameters.map(({ schema }) => schema),
      ...Object.values(operation.responses).flatMap(({ content }) =>
        Object.values(content ?? {}).map(({ schema }) => schema),
      ),
    ]);
    expect(schemas.length).toBeGreaterThan(80);
    const ajv = new Ajv2020({ strict: false, validateFormats: false });
    for (const schema of schemas) {
      expect(ajv.validateSchema(schema), JSON.stringify(schema).slice(0, 300)).toBe(true);
      expect(JSON.stringify(schema)).not.toMatch(/"(nullable|~kind|~optional|\$id)":/);
    }
  });

  it('lists every route there is, and no other', async () => {
    const { app, close } = await openApi(millrace.platform.ctx, { simUrl: '' });
    await app.ready();
    const real = routesOf(app.printRoutes({ commonPrefix: false }));
    await close();
    const hidden = [
      'GET /',
      'GET /docs/webhooks',
      'GET /openapi.json',
      'GET /reference',
      'GET /reference/{}',
      // Where a promised upload is told to go.
      'PUT /v1/artifacts/{}/content',
    ];
    const written = operations.map(({ method, path }) => `${method} ${path.replaceAll(/\{\w+\}/g, '{}')}`);
    expect([...written, ...hidden].toSorted()).toEqual(real.toSorted());
  });

  it('says of each route whether it wants a key, and tells the truth', async () => {
    const nobody = openClient(millrace.url, null);
    for (const operation of operations) {
      const raw = document.paths[operation.path]?.[operation.method.toLowerCase()];
      const optional = raw?.security?.some((way) => Object.keys(way).length === 0) ?? false;
      const path = operation.path.replaceAll(/\{\w+\}/g, 'x');
      const answer = await nobody.send(operation.method, path, operation.body ? { body: {} } : {});
      // The address of a callback is its key.
      const unknown = operation.path === '/v1/callbacks/{token}';
      if (operation.open) expect(answer.status, named(operation)).toBe(unknown ? 404 : 200);
      else if (!optional) expect(answer.status, named(operation)).toBe(401);
    }
  });

  it('tells of the errors that there are', () => {
    const job = operations.find((operation) => named(operation) === 'GET /v1/jobs/{id}');
    const schema = job?.responses['200']?.content?.['application/json']?.schema;
    const error = schema?.properties?.['error']?.anyOf?.[0];
    expect(error?.properties?.['code']?.enum).toEqual([...JOB_ERROR_CODES]);
  });
});

describe('every answer is as the document says', () => {
  const seen = new Set<string>();
  let watched: { account: TestAccount; admin: Client; nobody: Client };
  beforeAll(async () => {
    const made = await millrace.account({ overrides: { slots: 20 } });
    watched = {
      account: { ...made, ...watch(openClient(millrace.url, made.key)) },
      admin: watch(millrace.admin),
      nobody: watch(openClient(millrace.url, null)),
    };
  });

  /** The same client, whose every answer is held against the document, closed: with no field that is not in it. */
  function watch(client: Client): Client {
    const send: Client['send'] = async (method, path, options) => {
      const answer = await client.send(method, path, options);
      check(method, path, answer as Answer);
      return answer as never;
    };
    const get: Client['get'] = (path, headers = {}) => send('GET', path, { headers });
    const post: Client['post'] = (path, body, headers = {}) => send('POST', path, { body, headers });
    return {
      ...client,
      send,
      get,
      post,
      async submit(job, headers) {
        return (await post('/v1/jobs', job, headers)).body;
      },
      async ended(id) {
        for (;;) {
          const { body } = await get(`/v1/jobs/${id}?wait=20`);
          if (body.ended_at !== null) return body;
        }
      },
      async run(job) {
        return this.ended((await this.submit(job)).id as string);
      },
    };
  }

  const checks = new Map<object, ReturnType<Ajv2020['compile']>>();
  function check(method: string, path: string, { status, headers, body }: Answer): void {
    const plain = path.split('?')[0] as string;
    const operation = operations
      .filter((candidate) => candidate.method === method && templateOf(candidate.path).test(plain))
      // Where two fit, the one with more said: /v1/jobs/batch is no id.
      .toSorted((a, b) => a.path.split('{').length - b.path.split('{').length)[0];
    const what = `${method} ${path} ${status}`;
    expect(operation, what).toBeDefined();
    if (!operation) return;
    const key = String(status) in operation.responses ? String(status) : `${String(status)[0]}XX`;
    seen.add(`${named(operation)} ${key}`);
    const answer = operation.responses[key];
    expect(answer, what).toBeDefined();
    const type = (headers['content-type'] ?? '').split(';')[0] as string;
    const content = answer?.content?.[type] ?? answer?.content?.['*/*'];
    if (status === 204 || status === 304)
      return expect([body, answer?.content], what).toEqual(['', undefined]);
    expect(content, `${what} ${type}`).toBeDefined();
    if (!content) return;
    const validate = checks.get(content.schema) ?? compile(closed(content.schema));
    checks.set(content.schema, validate);
    const right = validate(body);
    expect(
      right,
      `${what}: ${JSON.stringify(validate.errors?.slice(0, 5))} ${JSON.stringify(body).slice(0, 600)}`,
    ).toBe(true);
  }

  it('for jobs of every kind and status', async () => {
    const { account } = watched;
    const statuses = new Set<string>();
    const look = async (id: string): Promise<Answer['body']> => {
      const { body } = await account.get(`/v1/jobs/${id}`);
      statuses.add(body.status);
      await account.get(`/v1/jobs/${id}/explain`);
      return body;
    };
    const marks = { metadata: { order: '77' }, end_user: 'somebody', priority: 'high', max_credits: 100_000 };
    const kinds = [
      { ...chat('Hello'), ...marks },
      { model: 'sim/image', input: { prompt: 'a mill', n: 2, seed: 7, size: '64x64' } },
      { model: 'sim/tts', input: { input: 'The mill turns.' } },
    ];
    const ended = [];
    for (const job of kinds) {
      const { id } = await account.submit(job, { 'x-client-request-id': 'mine' });
      await look(id);
      ended.push(await account.ended(id));
      await look(id);
    }
    const heard = await account.run({
      model: 'sim/stt',
      input: { artifact: ended[2].output.audio.artifact_id },
    });
    await look(heard.id);
    const hanging = { sim: { fault: 'hang' } };
    const failing = [
      await account.submit(
        chat('', { messages: [{ role: 'user', content: 'x' }], sim: { fault: 'refusal' } }),
      ),
      await account.submit(chat('x', { sim: { fault: 'malformed', times: 3 } })),
      await account.submit({ ...chat('x', hanging), expires_in: 1 }),
      await account.submit({ ...chat('x', hanging), deadline: new Date(Date.now() + 900) }),
    ];
    const running = await account.submit(chat('x', hanging));
    await expect.poll(async () => (await look(running.id)).status, { timeout: 10_000 }).toBe('running');
    await account.post(`/v1/jobs/${running.id}/cancel`);
    expect((await account.ended(running.id)).status).toBe('canceled');
    await look(running.id);
    expect((await account.post(`/v1/jobs/${running.id}/cancel`)).body.code).toBe('job_ended');
    for (const { id } of failing) {
      await account.ended(id);
      await look(id);
    }
    expect([...statuses].toSorted()).toEqual([
      'canceled',
      'expired',
      'failed',
      'queued',
      'running',
      'succeeded',
    ]);
  }, 60_000);

  it('for jobs that wait in the line, or for another try', async () => {
    const narrow = await millrace.account({ overrides: { slots: 1 } });
    const account = watch(openClient(millrace.url, narrow.key));
    const first = await account.submit(chat('x', { sim: { fault: 'hang' } }));
    const second = await account.submit(chat('y', { sim: { fault: '429-retry-after', times: 1 } }));
    const { body } = await account.get(`/v1/jobs/${second.id}`);
    expect(body.queue).toEqual({ position: 0, waiting_for: 'slot' });
    await account.post(`/v1/jobs/${first.id}/cancel`);
    await expect
      .poll(async () => (await account.get(`/v1/jobs/${second.id}`)).body.queue?.waiting_for, {
        timeout: 10_000,
      })
      .toBe('retry');
    expect((await account.ended(second.id)).status).toBe('succeeded');
  }, 30_000);

  it('for estimates, once there are enough of them', async () => {
    const made = await millrace.account({ overrides: { slots: 20 } });
    const job = { model: 'sim/tts', input: { input: 'x' } };
    // By another API of the same platform: this one would remember for a while that it knows of none.
    const { app, close } = await openApi(millrace.platform.ctx, { simUrl: '' });
    const { statusCode } = await app.inject({
      method: 'POST',
      url: '/v1/jobs/batch',
      headers: { authorization: `Bearer ${made.key}` },
      payload: { jobs: Array.from({ length: 20 }, () => job) },
    });
    expect(statusCode).toBe(200);
    const ended = async () =>
      (await millrace.sql('select from jobs where account_id = $1 and ended_at is not null', [made.id]))
        .length;
    await expect.poll(ended, { timeout: 20_000 }).toBe(20);
    await close();
    const account = watch(openClient(millrace.url, made.key));
    const { body } = await account.post('/v1/jobs?dry_run=true', job);
    expect(body.expected).toMatchObject({ credits: 10, samples: 20 });
    const { id } = await account.submit({ ...job, input: { input: 'x', sim: { latency_ms: 500 } } });
    expect((await account.get(`/v1/jobs/${id}`)).body.eta_ms).toEqual(expect.any(Number));
    await account.ended(id as string);
  }, 30_000);

  it('for quotes, repeats, waits and batches', async () => {
    const { account } = watched;
    await account.post('/v1/jobs?dry_run=true', chat());
    await account.post('/v1/jobs?dry_run=true', chat('x', { max_tokens: 10_000_000 }));
    await account.post('/v1/jobs?wait=20', chat());
    await account.post('/v1/jobs?wait=20', chat(), { 'idempotency-key': 'k' });
    await account.post('/v1/jobs', chat(), { 'idempotency-key': 'k' });
    await account.post('/v1/jobs', chat('other'), { 'idempotency-key': 'k' });
    const jobs = [chat(), { model: 'none', input: {} }, 7, { ...chat(), max_credits: 1 }];
    const { body } = await account.post('/v1/jobs/batch', { jobs });
    expect(body.data.map((item: { status: number }) => item.status)).toEqual([202, 404, 400, 422]);
    await account.post('/v1/jobs/batch', { jobs, all_or_nothing: true });
    await account.post('/v1/jobs/batch', { jobs: [] });
  }, 30_000);

  it('for lists, pages of them, and their refusals', async () => {
    const { account } = watched;
    for (const path of ['/v1/jobs', '/v1/artifacts', '/v1/transactions']) {
      const { body } = await account.get(`${path}?limit=2`);
      expect(body.data, path).toHaveLength(2);
      expect(body.has_more, path).toBe(true);
      await account.get(`${path}?limit=100&after=${body.next_after}`);
      await account.get(`${path}?limit=0`);
    }
    await account.get('/v1/jobs?metadata[order]=77');
    await account.get('/v1/events?limit=100', { accept: 'application/json' });
    await account.get('/v1/events', { accept: 'image/png' });
    await account.post('/v1/tickets', { jobs: 'all' });
    await account.post('/v1/tickets', { jobs: 'some' });
    await account.get('/v1/ws');
  });

  it('for artifacts, whole and in part', async () => {
    const { account, nobody } = watched;
    const form = `--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n0123456789\r\n--x--\r\n`;
    const type = { 'content-type': 'multipart/form-data; boundary=x' };
    const { body: artifact } = await account.post('/v1/artifacts', form, type);
    await account.post('/v1/artifacts', form.slice(0, -9), type);
    await account.get(`/v1/artifacts/${artifact.id}`);
    await account.get(`/v1/artifacts/${artifact.id}/content`);
    await account.get(`/v1/artifacts/${artifact.id}/content`, { range: 'bytes=2-4' });
    await account.get(`/v1/artifacts/${artifact.id}/content`, { range: 'bytes=99-' });
    const { body: link } = await account.post(`/v1/artifacts/${artifact.id}/links`, { expires_in_s: 900 });
    await account.post(`/v1/artifacts/${artifact.id}/links`, { expires_in_s: 1 });
    await nobody.get(link.url.slice(millrace.url.length));
    await account.send('DELETE', `/v1/artifacts/${artifact.id}`);
    const { body: gone } = await account.get(`/v1/artifacts/${artifact.id}`);
    expect(gone).toMatchObject({ code: 'data_deleted', message: 'The artifact was deleted.' });
  });

  it('for the account, the models, the service', async () => {
    const { account, nobody } = watched;
    await account.get('/v1/account');
    await account.get('/v1/account?x=1');
    await nobody.get('/v1/account');
    await account.get('/v1/models');
    await nobody.get('/v1/models');
    const caps = [
      { cap: 'max_output_tokens', max: 9, tag: 'free' },
      { cap: 'image_size', max: '512x512' },
    ];
    const capped = await millrace.account({ plan: 'free', overrides: { caps } });
    const { body } = await watch(openClient(millrace.url, capped.key)).get('/v1/account');
    expect(body.caps).toEqual({ 'max_output_tokens:free': 9, image_size: '512x512' });
    for (const path of ['/healthz', '/readyz', '/metrics']) expect((await nobody.get(path)).status).toBe(200);
  });

  it('for a job looked at again, and for streams', async () => {
    const { account } = watched;
    const { body } = await account.get('/v1/jobs?status=succeeded&limit=1');
    const [{ id }] = body.data;
    const { headers } = await account.get(`/v1/jobs/${id}`);
    expect((await account.get(`/v1/jobs/${id}`, { 'if-none-match': headers['etag'] as string })).status).toBe(
      304,
    );
    await account.get(`/v1/jobs/${id}/events`);
    const heard = await account.events(`/v1/jobs/${id}/events`);
    const last = heard.findLast((event) => event.id !== null)?.id as string;
    expect((await account.get(`/v1/jobs/${id}/events?after=${last}`)).status).toBe(204);
    await account.get(`/v1/jobs/${id}/events`, { accept: 'application/json' });
  });

  it('for webhooks, and what came back of them', async () => {
    const { account } = watched;
    const { id } = await makeEndpoint(account, receiver.url('/documented'));
    const at = `/v1/webhook-endpoints/${id}`;
    const job = await account.run({ ...chat(), webhook: receiver.url('/own') });
    expect(job.webhook).toBe(receiver.url('/own'));
    const { id: deliveryId } = await delivery(account, id, ({ status }) => status === 'delivered');
    receiver.answers('/documented', 500);
    expect((await account.get(`/v1/deliveries/${deliveryId}`)).status).toBe(200);
    expect((await account.post(`/v1/deliveries/${deliveryId}/redeliver`)).status).toBe(202);
    await delivery(account, id, ({ attempts }) => attempts.length === 2);
    const span = { after: '2026-01-01T00:00:00Z' };
    expect((await account.post(`${at}/redeliver`, span)).status).toBe(202);
    expect((await account.post(`${at}/test`)).body).toMatchObject({ delivered: false, http_status: 500 });
    expect((await account.post(`${at}/rotate`)).body.secret).toMatch(/^whsec_/);
    const { body: forJobs } = await account.get('/v1/webhook-endpoints/for-jobs');
    await delivery(account, forJobs.id, ({ status }) => status === 'delivered');
    expect((await account.get('/v1/webhook-endpoints')).body.data).toHaveLength(1);
    expect((await account.send('PATCH', at, { body: { enabled: false } })).status).toBe(200);
    expect((await account.get(at)).body).toMatchObject({ disabled_reason: 'client', enabled: false });
    expect((await account.post('/v1/webhook-endpoints', { url: 'http://10.0.0.1' })).status).toBe(422);
    expect((await account.send('DELETE', at)).status).toBe(204);
  }, 30_000);

  it('for operators', async () => {
    const { admin } = watched;
    const caps = [{ cap: 'image_cost', max: 5 }];
    const overrides = { slots: 3, line_length: 4, caps, max_audio_ms: 5_000, max_deadline_s: 60 };
    const made = await admin.post('/v1/admin/accounts', { name: 'documented', credits: 5, overrides });
    expect(made.status).toBe(201);
    const at = `/v1/admin/accounts/${made.body.id}`;
    const grant = { credits: 7, reason: 'thanks', expires_at: '2099-01-01T00:00:00Z', tag: 'free' };
    expect((await admin.post(`${at}/grants`, grant)).status).toBe(201);
    const none = { slots: null, line_length: null, caps: null, max_audio_ms: null, max_deadline_s: null };
    const patch = { plan: 'scale', overrides: none, reason: 'moved up' };
    expect((await admin.send('PATCH', at, { body: patch })).status).toBe(200);
    expect((await admin.get(at)).body).toMatchObject({ plan: 'scale', overrides: {} });
    const job = await openClient(millrace.url, made.body.api_key).post('/v1/jobs', {
      model: 'sim/image',
      input: { prompt: 'x' },
    });
    expect(job.body.code).toBe('out_of_credits');
    const { account } = watched;
    const { id } = await account.submit(chat('x', { sim: { fault: 'hang' } }));
    expect((await admin.post(`/v1/admin/accounts/${account.id}/jobs/${id}/cancel`)).status).toBe(202);
    await account.ended(id);
    const data = { default_output_tokens: 10, context_length: 1_000, bytes_per_token: 3.5 };
    const model = { kind: 'chat', aliases: ['documented'], tags: ['pro'], data };
    expect((await admin.send('PUT', '/v1/admin/models/vendor/documented', { body: model })).status).toBe(200);
    const lines = ['input', 'output'].map((measure) => ({
      name: 'token',
      measure,
      credits_per_million: '0',
    }));
    const route = {
      model: 'vendor/documented',
      provider: 'openai',
      base_url: 'https://vendor.example/v1/',
      api_key: 'k',
    };
    const { body: added, status } = await admin.post('/v1/admin/routes', {
      ...route,
      cost: lines,
      data: { unknown_fields: 'refuse', fields: ['x'] },
    });
    expect([status, added.base_url]).toEqual([201, 'https://vendor.example/v1']);
    const off = { enabled: false, reason: 'not ours' };
    expect((await admin.send('PATCH', `/v1/admin/routes/${added.id}`, { body: off })).status).toBe(200);
    expect((await admin.post('/v1/admin/prices', { model: 'vendor/documented', lines })).status).toBe(201);
    const { body: models } = await admin.get('/v1/admin/models');
    const { body: plans } = await admin.get('/v1/admin/plans');
    expect(plans.data.map((one: { id: string }) => one.id)).toEqual(
      expect.arrayContaining(['free', 'startup', 'scale']),
    );
    expect(models.data.map((one: { id: string }) => one.id)).toContain('vendor/documented');
    expect(JSON.stringify(models)).not.toContain('api_key');
    expect((await admin.get('/v1/admin/sim/calls?limit=5')).body.data).toHaveLength(5);
    expect((await admin.get('/v1/admin/invariants')).body).toMatchObject({ ok: true, breaches: [] });
    for (const [method, path, body] of BAD_FORMS)
      expect(
        (await admin.send(method, path.replace('ACCOUNT', made.body.id), { body })).status,
        `${path} ${JSON.stringify(body)}`,
      ).toBe(400);
    expect((await admin.get('/v1/admin/accounts/none')).status).toBe(404);
    await watched.account.get('/v1/admin/models');
  }, 30_000);

  it('to vendors that call back', async () => {
    const { keys } = millrace.platform.ctx.secrets;
    const token = callbackToken(keys, { jobId: newId('job'), attempt: 1 });
    expect((await watched.nobody.post(`/v1/callbacks/${token}`, { status: 'succeeded' })).status).toBe(204);
    expect((await watched.nobody.post(`/v1/callbacks/${token}x`)).status).toBe(404);
  });

  it('and no answer that the document promises was left out', () => {
    const promised = operations.flatMap((operation) =>
      Object.keys(operation.responses).map((status) => `${named(operation)} ${status}`),
    );
    // Where clients reach the storage: test/scenarios/s3.test.ts. WebSockets are opened in test/api/ws.
    const elsewhere = new Set(['GET /readyz 503', 'GET /v1/ws 101', 'GET /v1/artifacts/{id}/content 302']);
    const kept = promised.filter((promise) => !promise.endsWith(' 5XX') && !elsewhere.has(promise));
    // Without a body or a parameter of its own, a route has no refusal of its own either: the key's was tried above.
    const missed = kept.filter((promise) => !seen.has(promise) && !promise.endsWith('4XX'));
    expect(missed).toEqual([]);
  });
});

/** What operators may not send. */
const BAD_FORMS: [string, string, unknown][] = [
  ['POST', '/v1/admin/accounts', {}],
  ['POST', '/v1/admin/accounts', { name: '' }],
  ['POST', '/v1/admin/accounts', { name: 'x', plan: 'none' }],
  ['POST', '/v1/admin/accounts', { name: 'x', credits: 1e300 }],
  ['POST', '/v1/admin/accounts', { name: 'x', overrides: { slots: -1 } }],
  ['POST', '/v1/admin/accounts', { name: 'x', overrides: { caps: [{ cap: 'none', max: 1 }] } }],
  ['POST', '/v1/admin/accounts', { name: 'x', overrides: { caps: [{ cap: 'image_count', max: 'many' }] } }],
  ['PATCH', '/v1/admin/accounts/ACCOUNT', { plan: 'none', reason: 'x' }],
  ['PATCH', '/v1/admin/accounts/ACCOUNT', { status: 'closed' }],
  ['POST', '/v1/admin/accounts/ACCOUNT/grants', { credits: 0, reason: 'x' }],
  ['POST', '/v1/admin/accounts/ACCOUNT/grants', { credits: 1e16, reason: 'x' }],
  [
    'POST',
    '/v1/admin/accounts/ACCOUNT/grants',
    { credits: 1, reason: 'x', expires_at: '2020-01-01T00:00:00Z' },
  ],
  [
    'POST',
    '/v1/admin/accounts/ACCOUNT/grants',
    { credits: 1, reason: 'x', expires_at: '2099-12-31T23:59:60Z' },
  ],
  ['PUT', '/v1/admin/models/x', { kind: 'video' }],
  ['PUT', '/v1/admin/models/x', { kind: 'chat', data: { default_output_tokens: 'many' } }],
  ['PUT', '/v1/admin/models/x', { kind: 'chat', aliases: ['sim/chat'] }],
  ['PUT', '/v1/admin/models/documented', { kind: 'chat' }],
  ['POST', '/v1/admin/routes', { model: 'none', provider: 'sim' }],
  ['POST', '/v1/admin/routes', { model: 'sim/chat', provider: 'sim', rank: 1e12 }],
  ['POST', '/v1/admin/routes', { model: 'sim/chat', provider: 'openai' }],
  ['POST', '/v1/admin/routes', { model: 'sim/chat', provider: 'openai', base_url: 'http://' }],
  ['POST', '/v1/admin/routes', { model: 'sim/chat', provider: 'openai', base_url: 'ftp://vendor.example' }],
  [
    'POST',
    '/v1/admin/routes',
    { model: 'sim/chat', provider: 'openai', base_url: 'https://u:p@vendor.example' },
  ],
  [
    'POST',
    '/v1/admin/routes',
    { model: 'sim/chat', provider: 'openai', base_url: 'https://vendor.example/v1#' },
  ],
  ['POST', '/v1/admin/prices', { model: 'none', lines: [] }],
  [
    'POST',
    '/v1/admin/prices',
    { model: 'sim/chat', lines: [{ name: 'token', measure: 'input', credits_per_million: '-1' }] },
  ],
];

const templateOf = (path: string): RegExp =>
  new RegExp(`^${path.replaceAll(/\{\w+\}/g, path.startsWith('/v1/admin/models/') ? '.+' : '[^/]+')}$`);

function compile(schema: Schema) {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  (formats as unknown as (ajv: Ajv2020) => void)(ajv);
  return ajv.compile(schema);
}

/** The schema, but with no field beside those it names, unless it says itself that there may be. */
function closed(schema: Schema): Schema {
  const { properties, items, anyOf, additionalProperties } = schema;
  const free = additionalProperties !== undefined || !properties;
  return {
    ...schema,
    ...(properties
      ? {
          properties: Object.fromEntries(
            Object.entries(properties).map(([name, inner]) => [name, closed(inner)]),
          ),
        }
      : {}),
    ...(items ? { items: closed(items) } : {}),
    ...(anyOf ? { anyOf: anyOf.map(closed) } : {}),
    ...(free ? {} : { additionalProperties: false }),
  };
}

/** `GET /v1/jobs/{}` and so on, out of the router's own drawing of its tree. HEAD goes with GET. */
function routesOf(drawing: string): string[] {
  const stack: string[] = [];
  return drawing.split('\n').flatMap((line) => {
    const match = /^([ │├└─]*)(\S+) \(([^)]+)\)$/.exec(line);
    if (!match) return [];
    const [, indent = '', segment = '', methods = ''] = match;
    const depth = indent.length / 4 - 1;
    const parent = stack[depth - 1] ?? '';
    const joined = segment.startsWith('/') || parent === '' ? parent + segment : `${parent}/${segment}`;
    stack[depth] = joined.replaceAll('//', '/');
    const path = (stack[depth] as string).replaceAll(/:\w+(\|:\w+)*|\*/g, '{}');
    return methods
      .split(', ')
      .filter((method) => method !== 'HEAD' && method !== 'OPTIONS')
      .map((method) => `${method} ${path}`);
  });
}
