// Heads, addresses, keys and forms that mean harm: each is refused in the right words and leaves nothing.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeKey } from '../../src/domain/api-key.ts';
import type { ErrorCode } from '../../src/domain/errors.ts';
import { newId } from '../../src/domain/ids.ts';
import { type Answer, chat, type Client, openClient } from '../support/client.ts';
import {
  type Document,
  fill,
  isAdmin,
  type Operation,
  operationsOf,
  readDocument,
} from '../support/document.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { CANARY, expectRefusal, leavesNothing, countRows, sendRaw } from '../support/refusal.ts';

let millrace: TestPlatform;
let account: TestAccount;
let document: Document;
let operations: Operation[];
/** Takes whatever a vendor sends, and to everybody else is not there (test/flow/remote-callbacks). */
const isForVendors = ({ path }: Operation): boolean => path.startsWith('/v1/callbacks/');
beforeAll(async () => {
  millrace = await startPlatform({ worker: false });
  account = await millrace.account();
  document = await readDocument(account);
  operations = operationsOf(document);
});
afterAll(() => millrace.stop());

/** A request that an operation would read, if its head were right. Ids are made up. */
const ask = (client: Client, operation: Operation, headers: Record<string, string> = {}): Promise<Answer> => {
  const path = fill(operation, (name) => (name === 'account' ? newId('acc') : newId('job')));
  return client.send(operation.method, path, {
    ...(operation.body ? { body: {} } : {}),
    headers: { ...headers },
  });
};
const named = (operation: Operation): string => `${operation.method} ${operation.path}`;

describe('keys', () => {
  const good = () => account.key;
  const swap = (key: string, at: number): string =>
    key.slice(0, at) + (key[at] === 'x' ? 'y' : 'x') + key.slice(at + 1);

  it('that are no keys are refused before the database is asked', async () => {
    const garbage = [
      'x',
      'mr_live_',
      `${good()}x`,
      good().slice(0, -1),
      good().toLowerCase(),
      swap(good(), 12),
      swap(good(), 30),
      swap(good(), good().length - 1),
      good().replace('mr_live_', 'mr_test_'),
      good().replace('mr_live_', 'mr_admin_'),
      good().replace('mr_', 'sk_'),
      `${good()},${good()}`,
      'null',
      "' or 1=1 --",
      'x'.repeat(10_000),
    ];
    let asked = 0;
    millrace.platform.ctx.flow.on('acquire', () => asked++);
    millrace.platform.ctx.client.on('acquire', () => asked++);
    // The catalogue is read again every five seconds, which falls into one round at most.
    const rounds: number[] = [];
    for (let round = 0; round < 3; round++) {
      asked = 0;
      for (const key of garbage) {
        expectRefusal(await openClient(millrace.url, key).get('/v1/account'), 'api_key_invalid');
        expectRefusal(await openClient(millrace.url, key).get('/v1/admin/models'), 'api_key_invalid');
      }
      rounds.push(asked);
    }
    expect(Math.min(...rounds)).toBe(0);
    // The other way round: one that only looks right costs a look, and the second time none.
    asked = 0;
    const invented = openClient(millrace.url, makeKey('live').token);
    expectRefusal(await invented.get('/v1/account'), 'api_key_invalid');
    expect(asked).toBeGreaterThan(0);
  });

  it('that differ in one letter of the secret are strangers, also while the right one is remembered', async () => {
    expect((await account.get('/v1/account')).status).toBe(200);
    const { lookup } = makeKey('live');
    const twin = `mr_live_${good().slice(8, 20)}${makeKey('live').secret}`;
    expect(lookup).not.toBe(good().slice(8, 20));
    const { crc32 } = await import('node:zlib');
    const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
    let rest = crc32(twin);
    let sum = '';
    for (let i = 0; i < 6; i++) {
      sum = digits[rest % 62] + sum;
      rest = Math.floor(rest / 62);
    }
    expectRefusal(await openClient(millrace.url, twin + sum).get('/v1/account'), 'api_key_invalid');
    expect((await account.get('/v1/account')).status).toBe(200);
  });

  it.each([
    ['no header', undefined, 'api_key_missing'],
    ['an empty one', '', 'api_key_invalid'],
    ['another scheme', 'Basic bXI6eA==', 'api_key_invalid'],
    ['no scheme', 'KEY', 'api_key_invalid'],
    ['two keys', 'Bearer KEY KEY', 'api_key_invalid'],
    ['quotes', 'Bearer "KEY"', 'api_key_invalid'],
    ['a tab', 'Bearer\tKEY', 'api_key_invalid'],
    ['only the scheme', 'Bearer', 'api_key_invalid'],
    ['the scheme and spaces', `Bearer${' '.repeat(5_000)}`, 'api_key_invalid'],
  ] as const)('sent with %s are refused', async (_, header, code) => {
    const authorization = header?.replaceAll('KEY', good());
    const client = openClient(millrace.url, null);
    const answer = await client.get('/v1/account', authorization === undefined ? {} : { authorization });
    expectRefusal(answer, code);
    expect(answer.headers['www-authenticate']).toBe('Bearer');
  });

  it('are taken whatever the case of the scheme', async () => {
    const client = openClient(millrace.url, null);
    for (const scheme of ['Bearer', 'bearer', 'BEARER'])
      expect((await client.get('/v1/account', { authorization: `${scheme}  ${good()} ` })).status).toBe(200);
  });

  it('open what they are for, and nothing else', async () => {
    await leavesNothing(millrace, async () => {
      for (const operation of operations.filter(({ open, path }) => !open && path !== '/v1/models')) {
        const nobody = await ask(openClient(millrace.url, null), operation);
        const wrong = await ask(isAdmin(operation) ? account : millrace.admin, operation);
        expect(nobody.body, named(operation)).toMatchObject({ code: 'api_key_missing' });
        expectRefusal(nobody, 'api_key_missing');
        expect(wrong.body, named(operation)).toMatchObject({ code: 'scope_denied' });
        expectRefusal(wrong, 'scope_denied');
        expect(wrong.body.details, named(operation)).toEqual({
          needed: isAdmin(operation) ? 'admin' : 'live or test',
          granted: isAdmin(operation) ? 'live' : 'admin',
        });
        if (isAdmin(operation))
          expectRefusal(await ask(openClient(millrace.url, account.testKey), operation), 'scope_denied');
      }
    });
    expectRefusal(await millrace.admin.get('/v1/models'), 'scope_denied');
  });

  it('that were revoked, expired, or are of an account that is closed open nothing', async () => {
    const { sql } = millrace;
    const reject = async (statement: string, code: ErrorCode): Promise<void> => {
      const other = await millrace.account();
      await sql(statement, [other.id]);
      expectRefusal(await other.get('/v1/account'), code);
    };
    await reject('update api_keys set revoked_at = now() where account_id = $1', 'api_key_invalid');
    await reject(
      `update api_keys set expires_at = now() - interval '1 s' where account_id = $1`,
      'api_key_expired',
    );
    const closed = await millrace.account();
    expect((await closed.get('/v1/account')).status).toBe(200);
    const patch = { status: 'closed', reason: 'asked to' };
    expect(
      (await millrace.admin.send('PATCH', `/v1/admin/accounts/${closed.id}`, { body: patch })).status,
    ).toBe(200);
    // The processes that remember the key are told to forget it, which takes a moment.
    await expect.poll(async () => (await closed.get('/v1/account')).status).toBe(403);
    expectRefusal(await closed.get('/v1/account'), 'account_closed');
  });
});

describe('content types', () => {
  const submission = JSON.stringify(chat(CANARY));
  const send = (type: string | null, headers: Record<string, string> = {}): Promise<Answer> =>
    account.post('/v1/jobs', submission, { ...(type === null ? {} : { 'content-type': type }), ...headers });

  it.each([
    null,
    'text/plain',
    'text/json',
    'application/jsonx',
    'application/json5',
    'application/xml',
    'application/x-www-form-urlencoded',
    'application/vnd.api+json',
    'application',
    'application/',
    '/json',
    'json',
    '*/*',
    'application/json, text/plain',
    'application/json,',
    'application/json text/plain',
    'application/json;;',
    'application/json;',
    'application/json; charset',
    'application/json; charset=',
    'application/json; charset=utf-16',
    'application/json; charset=iso-8859-1',
    'application/json; charset=utf-8; charset=utf-16',
    'application/json; charset="utf-8',
    'application/json; boundary=x',
    'application /json',
    'application/ json',
    'application/json\u00a0',
    'application/json/x',
    'multipart/form-data; boundary=x',
  ])('%s is refused', async (type) => {
    expectRefusal(await send(type), 'unsupported_media_type');
  });

  it.each([
    'application/json',
    'Application/JSON',
    'application/json; charset=utf-8',
    'application/json;charset=UTF-8',
    'application/json ; charset="utf-8"',
    'application/json\t; charset=utf-8',
    ' application/json ',
  ])('%s is taken, and its body checked', async (type) => {
    const bad = await account.post('/v1/jobs?dry_run=true', '{"model":7}', { 'content-type': type });
    expectRefusal(bad, 'invalid_request');
    const good = await account.post('/v1/jobs?dry_run=true', submission, { 'content-type': type });
    expect(good.status).toBe(200);
  });

  it('with an encoding are refused: nothing is unpacked', async () => {
    for (const encoding of ['gzip', 'br', 'gzip, gzip', 'deflate', 'zstd', 'x']) {
      const answer = await send('application/json', { 'content-encoding': encoding });
      expectRefusal(answer, 'unsupported_media_type');
      expect(answer.headers['accept-encoding']).toBe('identity');
    }
    expect((await send('application/json', { 'content-encoding': 'identity' })).status).toBe(202);
  });

  it('are asked for on every route that takes a body, and bodies on no other', async () => {
    await leavesNothing(millrace, async () => {
      for (const operation of operations.filter((one) => one.method !== 'GET' && !isForVendors(one))) {
        const client = isAdmin(operation) ? millrace.admin : account;
        const path = fill(operation, () => newId('job'));
        const plain = { body: 'x', headers: { 'content-type': 'text/plain' } };
        const refusal = await client.send(operation.method, path, plain);
        expectRefusal(refusal, 'unsupported_media_type');
        const form = [
          ...(operation.path === '/v1/artifacts' ? ['multipart/form-data'] : []),
          'application/json',
        ];
        const taken = operation.body === null && operation.path !== '/v1/artifacts' ? [] : form;
        expect(refusal.body.details.accept, named(operation)).toEqual(taken);
        expect(refusal.headers['accept'] ?? '').toBe(taken.join(', '));
        expect(refusal.body.message).toContain(taken[0] ?? 'no body');
        const stray = await client.send(operation.method, path, { body: { [`stray_${'x'}`]: 1 } });
        expectRefusal(stray, 'invalid_request');
      }
    });
  });

  it('without a body are let be where none is taken', async () => {
    const { id } = await account.submit(chat());
    const headers = { 'content-type': 'application/json' };
    expect((await account.post(`/v1/jobs/${id}/cancel`, '', headers)).status).toBe(200);
    expectRefusal(await account.post('/v1/jobs', '', headers), 'invalid_json');
  });
});

describe('headers', () => {
  const submit = (headers: Record<string, string>): Promise<Answer> =>
    account.post('/v1/jobs', chat(CANARY), headers);

  it.each(['', '""', 'x'.repeat(256), `"${'x'.repeat(256)}"`, 'schlüssel', 'a\tb'])(
    'Idempotency-Key: %j is refused',
    async (key) => {
      await leavesNothing(millrace, async () =>
        expectRefusal(await submit({ 'idempotency-key': key }), 'invalid_request'),
      );
      const { body } = await submit({ 'idempotency-key': key });
      expect(body.details.issues[0].path).toBe('Idempotency-Key');
    },
  );

  it('Idempotency-Key may be any printable ASCII, quoted or not, of 1 to 255 characters', async () => {
    const keys = ['a', ' !"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~', '"', `"${'y'.repeat(255)}"`, 'z'.repeat(255)];
    for (const key of keys) {
      const first = await submit({ 'idempotency-key': key });
      expect(first.status, key).toBe(202);
      const again = await submit({ 'idempotency-key': key });
      expect(again.headers['idempotent-replayed'], key).toBe('true');
      expect(again.body.id).toBe(first.body.id);
      const other = await account.post('/v1/jobs', chat('another'), { 'idempotency-key': key });
      expectRefusal(other, 'idempotency_key_reused');
    }
  });

  it('x-client-request-id that is malformed is dropped, and hurts nobody', async () => {
    for (const name of ['a b', 'ä', 'x'.repeat(129), 'a\tb', '<script>', '']) {
      const answer = await submit({ 'x-client-request-id': name });
      expect(answer.status, name).toBe(202);
      expect(answer.headers['x-client-request-id'], name).toBeUndefined();
      expect(answer.body.client_request_id, name).toBeNull();
    }
  });

  it('Prefer that means nothing is let be', async () => {
    for (const prefer of ['wait', 'wait=', 'wait=-1', 'wait=x', 'respond-async', 'wait=0'])
      expect((await submit({ prefer })).status, prefer).toBe(202);
  });

  const raw = (head: string): Promise<Answer | null> =>
    sendRaw(millrace.url, `GET /v1/account HTTP/1.1\r\nauthorization: Bearer ${account.key}\r\n${head}`);
  const end = 'connection: close\r\n\r\n';

  it.each([
    ['larger than 16 KiB', `host: x\r\nx: ${'a'.repeat(17_000)}\r\n${end}`, 'headers_too_large'],
    [
      'of which there are too many bytes',
      `host: x\r\n${'x: y\r\n'.repeat(4_000)}${end}`,
      'headers_too_large',
    ],
    ['with a NUL', `host: x\r\nx: a\0b\r\n${end}`, 'invalid_request'],
    ['with a line break in the middle', `host: x\r\nx: a\rb\r\n${end}`, 'invalid_request'],
    ['without a name', `host: x\r\n: y\r\n${end}`, 'invalid_request'],
    ['with a space in the name', `host: x\r\na b: y\r\n${end}`, 'invalid_request'],
    ['without a host', end, 'invalid_request'],
    ['with two lengths', `host: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n${end}x`, 'invalid_request'],
    ['with a length that is none', `host: x\r\ncontent-length: -1\r\n${end}`, 'invalid_request'],
  ] as const)('%s are refused', async (_, head, code) => {
    const answer = await raw(head);
    expect(answer).not.toBeNull();
    expectRefusal(answer as Answer, code);
  });

  it('that expect what we do not know are no reason to refuse', async () => {
    const answer = await raw(`host: x\r\nexpect: the-unexpected\r\n${end}`);
    expect(answer?.status).toBe(200);
  });

  it('that smuggle a second length are refused, and what follows is not read', async () => {
    const smuggled = 'GET /v1/admin/models HTTP/1.1\r\nhost: x\r\n\r\n';
    const answer = await sendRaw(
      millrace.url,
      `POST /v1/jobs HTTP/1.1\r\nhost: x\r\ncontent-length: ${smuggled.length}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
    );
    expectRefusal(answer as Answer, 'invalid_request');
  });
});

describe('what is no HTTP', () => {
  it.each([
    ['a word', 'HELLO\r\n\r\n'],
    ['another protocol', '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003'],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['a version that is none', 'GET / HTTP/9.9\r\nhost: x\r\n\r\n'],
    [
      'chunks that are none',
      'POST /v1/jobs HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n\r\n',
    ],
  ])('%s is told so in the same shape', async (_, bytes) => {
    const answer = await sendRaw(millrace.url, bytes);
    expect(answer?.status).toBeGreaterThanOrEqual(400);
    if (answer?.body.code === 'invalid_request') expectRefusal(answer, 'invalid_request');
    else expectRefusal(answer as Answer, 'api_key_missing');
  });
});

describe('addresses', () => {
  it.each([
    ['/v1/jobs/%zz', 'invalid_request'],
    ['/v1/jobs/%ed%a0%80', 'invalid_request'],
    ['/v1/jobs/%ff', 'invalid_request'],
    ['/v1/jobs/%00', 'invalid_request'],
    ['/v1/jobs/job_%00', 'invalid_request'],
    ['/v1/jobs/..%2f..%2fadmin%2fmodels', 'not_found'],
    ['/v1/jobs/JOB_01K9S7V3M8E6Q0X4T2B5N7R9CA', 'not_found'],
    ['/v1/jobs/art_01k9s7v3m8e6q0x4t2b5n7r9ca', 'not_found'],
    ["/v1/jobs/job_01k9s7v3m8e6q0x4t2b5n7r9c'", 'not_found'],
    ['/v1/artifacts/%00', 'invalid_request'],
    ['/v1/artifacts/..%2fsecrets.json/content', 'not_found'],
    ['/v1/nothing', 'not_found'],
    ['/V1/jobs', 'not_found'],
    ['/v1/jobs/', 'not_found'],
    ['//v1/jobs', 'not_found'],
  ] as const)('%s is refused', async (path, code) => {
    expectRefusal(await account.get(path), code);
  });

  it.each([
    ['/v1/admin/accounts/%00', 'invalid_request'],
    ['/v1/admin/accounts/%ed%a0%80', 'invalid_request'],
    ['/v1/admin/accounts/nobody', 'not_found'],
  ] as const)('%s is refused to the operator too', async (path, code) => {
    expectRefusal(await millrace.admin.get(path), code);
  });

  it('longer than any of ours are refused, and not repeated whole', async () => {
    for (const [client, path] of [
      [account, '/v1/jobs/'],
      [account, '/v1/artifacts/'],
      [account, '/'],
      [millrace.admin, '/v1/admin/accounts/'],
    ] as [Client, string][])
      expectRefusal(await client.get(path + 'a'.repeat(10_000)), 'not_found');
  });

  it('of models are names of models', async () => {
    await leavesNothing(millrace, async () => {
      for (const id of ['a%00b', '%20', '..', 'a b', 'x'.repeat(201), '<script>', '%e2%80%ae']) {
        const answer = await millrace.admin.send('PUT', `/v1/admin/models/${id}`, { body: { kind: 'chat' } });
        expect(answer.status, id).toBeGreaterThanOrEqual(400);
        expect(answer.status, id).toBeLessThan(500);
        expect(['invalid_request', 'not_found']).toContain(answer.body.code);
      }
    });
  });
});

describe('questions to lists', () => {
  const id = newId('job');
  const BAD: [RegExp, string[]][] = [
    [/^limit$/, ['0', '-1', '10001', '1.5', 'x', '', '1e9', '%00', 'NaN', 'Infinity']],
    [/^order$/, ['up', '', 'ASC', 'asc;drop table jobs']],
    [
      /^(after|before)$/,
      ['x', '', id.slice(0, -1), `${id}x`, id.toUpperCase(), '-1', '1.2', `${id}%00`, "' or ''='"],
    ],
    [/^created_/, ['yesterday', '', '2026-13-01T00:00:00Z', '2026-02-30T00:00:00Z', '0000-01-01T00:00:00Z']],
    [/^created_/, ['2026-12-31T23:59:60Z', '2026-01-01', '2026-01-01T00:00:00', '1795000000']],
    [/^(kind|status)$/, ['', 'none', 'chat,image', '%00']],
    [/^(model|key_id|idempotency_key)$/, ['%00', '%ff', '%zz']],
    [/^wait$/, ['-1', '61', 'x', '', 'Infinity', '%00']],
    [/^dry_run$/, ['yes', '2', '', '%00']],
    [/^expires$/, ['x', '1.5', '%00']],
    [/^signature$/, ['%00', '%ff']],
  ];

  /** Models have names of their makers' choice, and are listed by them: a plain word is one. */
  const meansModel = ({ path }: Operation, { name, value }: { name: string; value: string }): boolean =>
    path === '/v1/admin/models' && /^(after|before)$/.test(name) && /^[a-z0-9][a-z0-9._]*$/i.test(value);

  let own: (operation: Operation) => string;
  beforeAll(async () => {
    const job = await account.submit(chat());
    own = (operation) => fill(operation, () => job.id as string);
  });

  it('that mean nothing are refused, whichever parameter of whichever route', async () => {
    let tried = 0;
    await leavesNothing(millrace, async () => {
      for (const operation of operations) {
        const client = isAdmin(operation) ? millrace.admin : account;
        const path = own(operation);
        const body = operation.body ? { body: chat(CANARY) } : {};
        for (const { name } of operation.parameters.filter((parameter) => parameter.in === 'query')) {
          for (const value of BAD.filter(([names]) => names.test(name)).flatMap(([, values]) => values)) {
            if (meansModel(operation, { name, value })) continue;
            const answer = await client.send(operation.method, `${path}?${name}=${value}`, body);
            expect(answer.body.code, `${named(operation)} ${name}=${value}: ${answer.status}`).toBe(
              'invalid_request',
            );
            expectRefusal(answer, 'invalid_request');
            tried += 1;
          }
        }
      }
    });
    expect(tried).toBeGreaterThan(80);
  });

  it('that name a parameter we do not know, or one twice, are refused on every route', async () => {
    await leavesNothing(millrace, async () => {
      const asked = operations.filter((one) => one.path.startsWith('/v1/') && !isForVendors(one));
      for (const operation of asked) {
        const client = isAdmin(operation) ? millrace.admin : account;
        const path = own(operation);
        const body = operation.body ? { body: chat(CANARY) } : {};
        const questions = [
          'unknown=1',
          '__proto__=1',
          'constructor=1',
          'limit[]=1',
          'limit=1&limit=2',
          `${CANARY}=${CANARY}`,
        ];
        for (const question of questions) {
          // The last one's name is the client's to know.
          const answer = await client.send(operation.method, `${path}?${question}`, body);
          expect(answer.body.code, `${named(operation)} ?${question}`).toBe('invalid_request');
        }
      }
    });
  });

  it('are answered with at most a hundred', async () => {
    for (const path of ['/v1/jobs', '/v1/artifacts', '/v1/transactions']) {
      expect((await account.get(`${path}?limit=100`)).status).toBe(200);
      expectRefusal(await account.get(`${path}?limit=101`), 'invalid_request');
    }
  });

  it('by metadata take any key, and any value that can be one', async () => {
    const metadata = { 'a\nb': 'x', ключ: '😀', 'a"b': '\\' };
    const { id: job } = await account.submit({ ...chat(), metadata });
    for (const [key, value] of Object.entries(metadata)) {
      const question = `metadata[${encodeURIComponent(key)}]=${encodeURIComponent(value)}`;
      const { body } = await account.get(`/v1/jobs?${question}`);
      expect(
        body.data.map((found: { id: string }) => found.id),
        question,
      ).toEqual([job]);
      expect((await account.get(`/v1/jobs?${question}x`)).body.data).toEqual([]);
    }
    for (const question of [
      'metadata[]=x',
      'metadata=x',
      'metadata[k=x',
      `metadata[${'k'.repeat(41)}]=x`,
      'metadata[k]=%00',
    ])
      expectRefusal(await account.get(`/v1/jobs?${question}`), 'invalid_request');
  });

  it('by time take every way to write it', async () => {
    for (const at of [
      '2020-01-01T00:00:00Z',
      '2020-01-01t00:00:00.123456789z',
      '2020-01-01T00:00:00%2B23:59',
      '0001-01-01T00:00:00Z',
    ])
      expect((await account.get(`/v1/jobs?created_after=${at}`)).status, at).toBe(200);
    expect((await account.get('/v1/jobs?created_before=9999-12-31T23:59:59-23:59')).body.data).not.toEqual(
      [],
    );
    expect((await account.get('/v1/jobs?created_before=2020-01-01T00:00:00Z')).body.data).toEqual([]);
  });
});

describe('forms', () => {
  const BOUNDARY = 'x'.repeat(20);
  const part = (head: string, content = CANARY): string => `--${BOUNDARY}\r\n${head}\r\n\r\n${content}\r\n`;
  const file = (name = 'file', content = CANARY): string =>
    part(
      `content-disposition: form-data; name="${name}"; filename="a.txt"\r\ncontent-type: text/plain`,
      content,
    );
  const end = `--${BOUNDARY}--\r\n`;
  const send = (body: string | Buffer, type = `multipart/form-data; boundary=${BOUNDARY}`): Promise<Answer> =>
    account.post('/v1/artifacts', body, { 'content-type': type });

  it('with one file are taken', async () => {
    const { status, body } = await send(file() + end);
    expect(status).toBe(201);
    expect(body).toMatchObject({ bytes: CANARY.length, content_type: 'text/plain', direction: 'input' });
  });

  it.each([
    ['nothing at all', ''],
    ['only an end', end],
    ['no boundary in them', CANARY],
    ['a file that breaks off', file().slice(0, -10)],
    ['a file and no end', file()],
    ['a head that breaks off', `--${BOUNDARY}\r\ncontent-dispo`],
    ['a part without a head', `--${BOUNDARY}\r\n\r\n${CANARY}\r\n${end}`],
    ['a field instead of a file', part('content-disposition: form-data; name="file"') + end],
    ['another field', part('content-disposition: form-data; name="purpose"') + file() + end],
    ['another field behind it', file() + part('content-disposition: form-data; name="purpose"') + end],
    ['a file of another name', file('avatar') + end],
    ['two files', file() + file() + end],
    ['a thousand files', file().repeat(1_000) + end],
    ['a file called __proto__', file('__proto__') + end],
    ['a file called constructor', file('constructor') + end],
    ['a file whose name is long', file(CANARY.repeat(2_000)) + end],
    [
      'a thousand heads',
      part(`x: y\r\n`.repeat(1_000) + 'content-disposition: form-data; name="other"; filename="a"') + end,
    ],
  ])('with %s are refused', async (_, body) => {
    const before = await countRows(millrace);
    const stored = await storedFiles();
    expectRefusal(await send(body), 'invalid_request');
    expect(await countRows(millrace)).toEqual(before);
    expect(await storedFiles()).toBe(stored);
  });

  it.each([
    ['multipart/form-data', 'invalid_request'],
    ['multipart/form-data; boundary=', 'unsupported_media_type'],
    ['multipart/form-data; boundary=other', 'invalid_request'],
    ['multipart/mixed; boundary=x', 'unsupported_media_type'],
    ['text/plain', 'unsupported_media_type'],
    ['application/octet-stream', 'unsupported_media_type'],
  ] as const)('under the type %s are refused', async (type, code) => {
    const answer = await send(file() + end, type);
    expect([code, 'invalid_request', 'unsupported_media_type'], String(answer.status)).toContain(
      answer.body.code,
    );
    expectRefusal(answer, answer.body.code);
  });

  it('in JSON are told what is not there yet', async () => {
    expectRefusal(await account.post('/v1/artifacts', { url: 'http://127.0.0.1/' }), 'input_unreachable');
  });

  it('that break off with the connection leave nothing', async () => {
    const before = await countRows(millrace);
    const stored = await storedFiles();
    const { hostname, port } = new URL(millrace.url);
    const { connect } = await import('node:net');
    const socket = connect(Number(port), hostname);
    socket.on('error', () => {});
    socket.write(
      `POST /v1/artifacts HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${account.key}\r\n` +
        `content-type: multipart/form-data; boundary=${BOUNDARY}\r\ncontent-length: 1000000\r\n\r\n${file().slice(0, -2)}`,
    );
    await expect.poll(drafts, { timeout: 10_000 }).toBe(1);
    socket.destroy();
    await expect.poll(drafts, { timeout: 10_000 }).toBe(0);
    expect(await storedFiles()).toBe(stored);
    expect(await countRows(millrace)).toEqual(before);
  });

  async function storedFiles(): Promise<number> {
    let count = 0;
    for await (const _ of millrace.platform.ctx.storage.list()) count += 1;
    return count + (await drafts());
  }

  async function drafts(): Promise<number> {
    const { readdir } = await import('node:fs/promises');
    return (await readdir(`${millrace.dataDir}/artifacts/drafts`).catch(() => [])).length;
  }
});

describe('ranges', () => {
  it('are given, cut, ignored or refused as the standard says', async () => {
    const form = new FormData();
    form.append('file', new Blob(['0123456789']), 'a.txt');
    const response = await fetch(`${millrace.url}/v1/artifacts`, {
      method: 'POST',
      headers: { authorization: `Bearer ${account.key}` },
      body: form,
    });
    const { id } = (await response.json()) as { id: string };
    const get = (range: string): Promise<Answer> => account.get(`/v1/artifacts/${id}/content`, { range });
    for (const [range, bytes, part] of [
      ['bytes=0-0', '0', '0-0'],
      ['bytes=2-4', '234', '2-4'],
      ['bytes=8-', '89', '8-9'],
      ['bytes=-3', '789', '7-9'],
      ['bytes=5-99999999999999999999', '56789', '5-9'],
      ['bytes=-99', '0123456789', '0-9'],
    ]) {
      const answer = await get(range as string);
      expect([answer.status, answer.body, answer.headers['content-range']], range).toEqual([
        206,
        bytes,
        `bytes ${part}/10`,
      ]);
      expect(answer.headers['content-length']).toBe(String(bytes?.length));
    }
    for (const range of [
      'bytes=10-',
      'bytes=99-100',
      'bytes=-0',
      'bytes=5-2',
      'bytes=99999999999999999999-',
    ]) {
      const answer = await get(range);
      expectRefusal(answer, 'range_not_satisfiable');
      expect(answer.headers['content-range']).toBe('bytes */10');
      expect(answer.headers['content-disposition']).toBeUndefined();
    }
    for (const range of ['bytes', 'bytes=', 'bytes=-', 'bytes=a-b', 'items=0-1', 'bytes=0-1,3-4', ' ', '0-1'])
      expect([(await get(range)).status, (await get(range)).body], range).toEqual([200, '0123456789']);
  });
});
