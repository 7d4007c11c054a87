// What stands above every answer (contract 10), and what an answer is refused with.
import rateLimit from '@fastify/rate-limit';
import Fastify, { type FastifyRequest } from 'fastify';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { EXPOSED_HEADERS } from '../../src/api/headers.ts';
import { openRateLimit } from '../../src/api/rate-limit.ts';
import { AppError } from '../../src/domain/errors.ts';
import { type Answer, chat, openClient } from '../support/client.ts';
import { fill, isAdmin, type Operation, operationsOf, readDocument } from '../support/document.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { expectRefusal } from '../support/refusal.ts';

const ORIGIN = 'https://app.example';
let millrace: TestPlatform;
let account: TestAccount;
beforeAll(async () => {
  millrace = await startPlatform({ env: { CORS_ORIGINS: `${ORIGIN}, https://other.example` } });
  account = await millrace.account();
});
afterAll(() => millrace.stop());

const hanging = () => account.submit(chat('x', { sim: { fault: 'hang' } }));

describe('every answer', () => {
  it('has an id of its own, which is never the client’s', async () => {
    const { id } = await account.run(chat());
    const answers = await Promise.all([
      account.get('/healthz', { 'x-request-id': 'mine' }),
      account.get('/v1/account', { 'x-request-id': 'mine' }),
      account.get(`/v1/jobs/${id}`),
      account.post('/v1/jobs', chat()),
      account.post('/v1/jobs', '{', { 'content-type': 'application/json' }),
      account.get(`/v1/jobs/${id}/events`),
      account.get('/nothing'),
      account.get('/v1/jobs/%zz'),
      account.get('/reference/'),
      account.get('/openapi.json'),
      millrace.admin.get('/v1/admin/models'),
    ]);
    const ids = answers.map(({ headers }) => headers['x-request-id'] ?? '');
    for (const one of ids) expect(one).toMatch(/^req_[0-9a-hjkmnp-tv-z]{26}$/);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { headers } of answers) expect(headers['x-millrace-version']).toMatch(/^\d+\.\d+\.\d+/);
  });

  it('echoes the name the client gave its request, wherever it ends up', async () => {
    const own = { 'x-client-request-id': 'My.own:request_7-' };
    const { id } = await account.run(chat());
    for (const answer of [
      await account.post('/v1/jobs', chat(), own),
      await account.post('/v1/jobs', 'x', { ...own, 'content-type': 'text/plain' }),
      await account.get(`/v1/jobs/${id}/events`, own),
      await account.get('/nothing', own),
      await account.get('/v1/jobs/%zz', own),
      await openClient(millrace.url, null).get('/v1/account', own),
    ])
      expect(answer.headers['x-client-request-id']).toBe('My.own:request_7-');
    const { body } = await account.post('/v1/jobs', chat(), own);
    expect(body.client_request_id).toBe('My.own:request_7-');
  });
});

describe('answers about a job', () => {
  it('tell its id and its hold, and when to look again while it goes on', async () => {
    const answer = await account.post('/v1/jobs', chat('x', { sim: { fault: 'hang' } }));
    const { id, hold } = answer.body;
    const going = {
      'x-inference-id': id,
      'x-credits-held': String(hold.credits),
      'retry-after': '1',
      'retry-after-ms': '1000',
    };
    expect(answer.headers).toMatchObject({ ...going, location: `/v1/jobs/${id}` });
    const looked = await account.get(`/v1/jobs/${id}`);
    expect(looked.headers).toMatchObject(going);
    for (const { headers } of [answer, looked]) {
      expect(headers['x-credits-used']).toBeUndefined();
      expect(headers['x-usd-spent']).toBeUndefined();
    }
    const canceled = await account.post(`/v1/jobs/${id}/cancel`);
    expect(canceled.headers['x-inference-id']).toBe(id);
    await account.ended(id);
  });

  it('tell what it came to once it has ended, and nothing of looking again', async () => {
    const answer = await account.post('/v1/jobs?wait=20', {
      model: 'sim/image',
      input: { prompt: 'x', n: 3 },
    });
    expect(answer.status).toBe(200);
    const told = { 'x-credits-held': '1500', 'x-credits-used': '1500', 'x-usd-spent': '0.00075' };
    expect(answer.headers).toMatchObject({
      ...told,
      'x-inference-id': answer.body.id,
      location: `/v1/jobs/${answer.body.id}`,
    });
    const looked = await account.get(`/v1/jobs/${answer.body.id}`);
    expect(looked.headers).toMatchObject(told);
    for (const { headers } of [answer, looked]) expect(headers['retry-after']).toBeUndefined();
  });

  it('tell what is left on the account only where the account is asked after', async () => {
    const { headers, body } = await account.get('/v1/account');
    expect(headers['x-credits-available']).toBe(String(body.balance.available.credits));
  });

  it('say when they are a repeat', async () => {
    const first = await account.post('/v1/jobs', chat(), { 'idempotency-key': 'repeat' });
    const again = await account.post('/v1/jobs', chat(), { 'idempotency-key': '"repeat"' });
    expect([first.headers['idempotent-replayed'], again.headers['idempotent-replayed']]).toEqual([
      undefined,
      'true',
    ]);
    expect(again.headers['x-inference-id']).toBe(first.body.id);
  });
});

describe('a tag of what was seen', () => {
  it('spares the answer, in whatever form it is sent', async () => {
    const { id } = await account.run(chat());
    const { headers } = await account.get(`/v1/jobs/${id}`);
    const tag = headers['etag'] ?? '';
    expect(tag).toMatch(/^"[!#-~]+"$/);
    expect(headers['cache-control']).toBe('private, no-cache');
    for (const seen of [tag, `W/${tag}`, `"x", ${tag}`, `W/"x",W/${tag} , "y"`, '*', `"a,b", ${tag}`]) {
      const answer = await account.get(`/v1/jobs/${id}`, { 'if-none-match': seen });
      expect([answer.status, answer.body], seen).toEqual([304, '']);
      expect(answer.headers, seen).toMatchObject({ etag: tag, 'cache-control': 'private, no-cache' });
      expect(answer.headers['content-length'] ?? '0', seen).toBe('0');
    }
    for (const other of ['""', '"x"', tag.slice(1, -1), tag.replace(/"$/, 'x"'), `"${tag}"x`, 'W/', '']) {
      const answer = await account.get(`/v1/jobs/${id}`, { 'if-none-match': other });
      expect(answer.status, other).toBe(200);
    }
  });

  it('changes with everything that a client compares', async () => {
    const { id } = await hanging();
    const tags: string[] = [];
    const look = async (): Promise<Answer['body']> => {
      const { headers, body } = await account.get(`/v1/jobs/${id}`);
      if (tags.at(-1) !== headers['etag']) tags.push(headers['etag'] as string);
      return body;
    };
    await expect.poll(async () => (await look()).status).toBe('running');
    await account.post(`/v1/jobs/${id}/cancel`);
    await look();
    await account.ended(id);
    await look();
    expect(new Set(tags).size).toBe(tags.length);
    expect(tags.length).toBeGreaterThanOrEqual(2);
  });
});

/** Whether the path, as it stands, could be an address of the other with its parameters filled. */
const isOneOf = (other: Operation, path: string): boolean =>
  other.path !== path && new RegExp(`^${other.path.replaceAll(/\{\w+\}/g, '[^/{}]+')}$`).test(path);

describe('methods and forms', () => {
  it('that an address does not take are refused with those it does', async () => {
    const operations = operationsOf(await readDocument(account));
    const paths = [...new Set(operations.map(({ path }) => path))];
    for (const path of paths) {
      const here = operations.filter((operation) => operation.path === path);
      const taken = here.map(({ method }) => method);
      const streams = path.endsWith('/events') || path === '/v1/ws';
      const client = here.some(isAdmin) ? millrace.admin : account;
      for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'].filter(
        (method) => !taken.includes(method),
      )) {
        // Where a promised upload is told to go (test/flow/promised-upload.test.ts).
        if (path === '/v1/artifacts/{id}/content' && method === 'PUT') continue;
        const answer = await client.send(
          method,
          fill({ path }, () => 'x'),
        );
        // What looks like an id to another address is one: GET of a batch is a look at the job "batch".
        if (operations.some((other) => other.method === method && isOneOf(other, path))) continue;
        expectRefusal(answer, 'method_not_allowed');
        const allowed = (answer.headers['allow'] ?? '').split(', ');
        expect(allowed, path).toEqual(expect.arrayContaining(taken));
        expect(answer.body.details.allow).toEqual(allowed);
        expect(allowed.includes('HEAD'), path).toBe(allowed.includes('GET') && !streams);
      }
    }
  });

  it('that no stream has are refused', async () => {
    const { id } = await account.run(chat());
    for (const accept of [
      'application/json',
      'image/png',
      'text/html;q=1',
      'text/event-stream;q=0',
      'nonsense',
    ])
      expectRefusal(await account.get(`/v1/jobs/${id}/events`, { accept }), 'not_acceptable');
    for (const accept of [
      '*/*',
      'text/*',
      'text/event-stream',
      'application/json;q=0.1, text/event-stream;q=0.2',
    ])
      expect((await account.get(`/v1/jobs/${id}/events`, { accept })).headers['content-type'], accept).toBe(
        'text/event-stream; charset=utf-8',
      );
    for (const [accept, type] of [
      ['application/json', 'application/json; charset=utf-8'],
      ['application/*', 'application/json; charset=utf-8'],
      ['text/event-stream;q=0.5, application/json', 'application/json; charset=utf-8'],
      ['*/*;q=0.1, application/json', 'application/json; charset=utf-8'],
    ] as const)
      expect((await account.get('/v1/events', { accept })).headers['content-type'], accept).toBe(type);
    expectRefusal(await account.get('/v1/events', { accept: 'image/png' }), 'not_acceptable');
  });

  it('HEAD answers as GET would, without a body', async () => {
    const { id } = await account.run(chat());
    for (const path of ['/healthz', '/v1/account', `/v1/jobs/${id}`, '/v1/jobs']) {
      const [head, got] = [await rawHead(path), await account.get(path)];
      expect(head.status, path).toBe(got.status);
      expect(head.body, path).toBe('');
      expect(head.headers['content-type'], path).toBe(got.headers['content-type']);
    }
    expect((await rawHead('/v1/jobs/none')).status).toBe(404);
    expect((await rawHead('/v1/events')).status).toBe(405);
  });

  async function rawHead(path: string): Promise<Answer> {
    const response = await fetch(millrace.url + path, {
      method: 'HEAD',
      headers: { authorization: `Bearer ${account.key}` },
    });
    return {
      status: response.status,
      headers: Object.fromEntries(response.headers),
      body: await response.text(),
    };
  }
});

describe('browsers', () => {
  const exposed = (headers: Record<string, string>) =>
    (headers['access-control-expose-headers'] ?? '').split(', ').filter(Boolean);

  it('from origins that the operator named may call, and read every header of ours', async () => {
    const { id } = await account.run(chat());
    for (const answer of [
      await account.get('/v1/account', { origin: ORIGIN }),
      await account.post('/v1/jobs', chat(), { origin: ORIGIN }),
      await account.post('/v1/jobs', '{', { origin: ORIGIN, 'content-type': 'application/json' }),
      await account.get(`/v1/jobs/${id}/events`, { origin: ORIGIN }),
      await account.get('/nothing', { origin: ORIGIN }),
      await openClient(millrace.url, null).get('/v1/account', { origin: ORIGIN }),
    ]) {
      expect(answer.headers['access-control-allow-origin']).toBe(ORIGIN);
      expect(answer.headers['vary']).toContain('Origin');
      expect(exposed(answer.headers)).toEqual([...EXPOSED_HEADERS]);
      const ours = Object.keys(answer.headers).filter((name) =>
        /^(x-(request|client|mill|inf|cred|usd|should)|retry|etag|location|idempotent)/.test(name),
      );
      expect([...EXPOSED_HEADERS]).toEqual(expect.arrayContaining(ours));
      expect(answer.headers['access-control-allow-credentials']).toBeUndefined();
    }
  });

  it('may ask beforehand for every method', async () => {
    const ask = (origin: string, method: string): Promise<Answer> =>
      openClient(millrace.url, null).send('OPTIONS', '/v1/artifacts/x', {
        headers: {
          origin,
          'access-control-request-method': method,
          'access-control-request-headers': 'authorization,content-type',
        },
      });
    for (const method of ['GET', 'POST', 'DELETE', 'PUT', 'PATCH']) {
      const { status, headers } = await ask(ORIGIN, method);
      expect(status).toBe(204);
      expect(headers['access-control-allow-origin']).toBe(ORIGIN);
      expect(headers['access-control-allow-methods']).toContain(method);
      expect(headers['access-control-allow-headers']).toBe('authorization,content-type');
    }
    expect((await ask('https://evil.example', 'GET')).headers['access-control-allow-origin']).toBeUndefined();
  });

  it('from any other origin may not', async () => {
    for (const origin of [
      'https://evil.example',
      `${ORIGIN}.evil.example`,
      'null',
      'http://app.example',
      ORIGIN.toUpperCase(),
    ]) {
      const { headers } = await account.get('/v1/account', { origin });
      expect(headers['access-control-allow-origin'], origin).toBeUndefined();
    }
  });

  it('from no origin may, unless the operator named one', async () => {
    const closed = await startPlatform({ worker: false });
    const client = await closed.account();
    const answers = [
      await client.get('/v1/account', { origin: ORIGIN }),
      await client.send('OPTIONS', '/v1/jobs', {
        headers: { origin: ORIGIN, 'access-control-request-method': 'POST' },
      }),
    ];
    await closed.stop();
    for (const { headers } of answers)
      expect(Object.keys(headers).filter((name) => name.startsWith('access-control-'))).toEqual([]);
    expectRefusal(answers[1] as Answer, 'method_not_allowed');
  });
});

describe('too many requests a second', () => {
  // The windows are of the wall clock, which stands still here until it is moved on: no machine is too slow for them.
  beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'] }));
  afterEach(() => void vi.useRealTimers());

  it('with one key are refused from the 2,001st on, with another not', async () => {
    const app = Fastify();
    await app.register(rateLimit, { global: false });
    const limit = openRateLimit(app);
    const by = (keyId: string) => limit({ caller: { keyId }, routeOptions: {} } as unknown as FastifyRequest);
    for (let i = 0; i < 2_000; i++) await by('key_a');
    vi.setSystemTime(Date.now() + 700);
    const refusal = await by('key_a').catch((error: unknown) => error as AppError);
    expect(refusal).toBeInstanceOf(AppError);
    expect(refusal).toMatchObject({
      code: 'rate_limited',
      details: { limit: 2_000, window: 'second' },
      headers: { 'retry-after': '1', 'retry-after-ms': '300' },
    });
    await by('key_b');
    vi.setSystemTime(Date.now() + 299);
    await expect(by('key_a')).rejects.toMatchObject({ headers: { 'retry-after-ms': '1' } });
    vi.setSystemTime(Date.now() + 1);
    await by('key_a');
    await app.close();
  });

  it('are told so in the usual shape, and soon served again', async () => {
    const [busy, calm] = [await millrace.account(), await millrace.account()];
    for (let i = 0; i < 2_000; i += 100) {
      const answers = await Promise.all(Array.from({ length: 100 }, () => busy.get('/v1/jobs/none')));
      for (const { status } of answers) expect(status).toBe(404);
    }
    const answer = await busy.get('/v1/jobs/none');
    expectRefusal(answer, 'rate_limited');
    expect(answer.headers).toMatchObject({ 'retry-after': '1', 'retry-after-ms': '1000' });
    // Whatever it asks for; and nobody else.
    expectRefusal(await busy.post('/v1/jobs', chat()), 'rate_limited');
    expect((await calm.get('/v1/account')).status).toBe(200);
    vi.setSystemTime(Date.now() + Number(answer.headers['retry-after-ms']));
    expect((await busy.get('/v1/account')).status).toBe(200);
  });
});
