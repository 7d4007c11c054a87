// Every route of the document, asked for what makes no sense: it never breaks, and always says what is wrong in one shape.
import fc from 'fast-check';
import { request } from 'undici';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { type ErrorCode, ERRORS } from '../../src/domain/errors.ts';
import { newId } from '../../src/domain/ids.ts';
import { readCredentials } from '../../src/platform.ts';
import { type FuzzedRequest, requestTo } from '../support/arbitrary.ts';
import { type Answer, chat } from '../support/client.ts';
import { isAdmin, type Operation, operationsOf, readDocument } from '../support/document.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { expectErrorBody } from '../support/refusal.ts';

const RUNS = 60;
const seed = Date.now() % 2 ** 31;
let millrace: TestPlatform;
let account: TestAccount;
let operations: Operation[];
let ids: string[];
let adminKey: string;
beforeAll(async () => {
  process.stdout.write(`fuzzing with the seed ${seed}\n`);
  millrace = await startPlatform({ worker: false });
  account = await millrace.account({ overrides: { line_length: 100_000, slots: 100 } });
  adminKey = (await readCredentials(readConfig(millrace.env)))?.admin_key ?? '';
  const other = await millrace.account();
  operations = operationsOf(await readDocument(account));
  const mine = await account.submit(chat());
  const theirs = await other.submit(chat());
  // Nobody is to be locked out by what the operator is made to do.
  const spare = await millrace.account();
  ids = [mine.id, theirs.id, spare.id, newId('job'), newId('art'), 'sim/chat', 'fuzz/model', 'rte_none'];
});
afterAll(() => millrace.stop());

async function send(
  { method }: Operation,
  key: string,
  { path, headers, body }: FuzzedRequest,
): Promise<Answer> {
  const response = await request(millrace.url + path, {
    method: method as 'GET',
    headers: { authorization: `Bearer ${key}`, ...headers },
    ...(body === null ? {} : { body: Buffer.from(body, 'utf8') }),
  });
  const type = String(response.headers['content-type']);
  if (type.startsWith('text/event-stream')) {
    response.body.on('error', () => {});
    response.body.destroy();
    return { status: response.statusCode, headers: response.headers as Record<string, string>, body: null };
  }
  const text = await response.body.text();
  const json = type.startsWith('application/json') && text !== '';
  return {
    status: response.statusCode,
    headers: response.headers as Record<string, string>,
    body: json ? JSON.parse(text) : text,
  };
}

const JOBS = [
  { ...chat('Hello', { max_tokens: 100, n: 2, stream: true, sim: { latency_ms: 5 } }), metadata: { a: 'b' } },
  {
    kind: 'image',
    model: 'sim/image',
    input: { prompt: 'a mill', size: '64x64', n: 1, seed: 7 },
    priority: 'low',
  },
  { model: 'sim/tts', input: { input: 'Hello', voice: 'x', speed: 1 }, expires_in: 60, max_credits: 1_000 },
  { model: 'sim/stt', input: { audio: 'UklGRg==', language: 'en', max_seconds: 5 }, end_user: 'somebody' },
];

function examplesOf({ method, path }: Operation): unknown[] {
  switch (`${method} ${path}`) {
    case 'POST /v1/jobs':
      return JOBS;
    case 'POST /v1/jobs/batch':
      return [{ jobs: JOBS }, { jobs: JOBS.slice(1, 3), all_or_nothing: true }];
    case 'POST /v1/admin/accounts':
      return [
        {
          name: 'x',
          plan: 'free',
          credits: 5,
          overrides: { slots: 2, caps: [{ cap: 'image_count', max: 1 }] },
        },
      ];
    case 'POST /v1/admin/accounts/{id}/grants':
      return [{ credits: 5, reason: 'x', expires_at: '2099-01-01T00:00:00Z', tag: 'free' }];
    case 'POST /v1/admin/routes':
      return [
        {
          model: 'sim/chat',
          provider: 'openai',
          base_url: 'http://127.0.0.1:1/v1',
          rank: 5,
          data: { fields: ['x'] },
        },
      ];
    case 'POST /v1/admin/prices':
      return [
        {
          model: 'sim/chat',
          lines: ['input', 'output'].map((measure) => ({ name: 'token', measure, credits_per_million: '5' })),
        },
      ];
    default:
      return [];
  }
}

function plainRequests(operation: Operation): FuzzedRequest[] {
  const path = operation.path.replace('{id}', ids[0] as string);
  const examples = examplesOf(operation);
  if (examples.length === 0) return operation.method === 'GET' ? [{ path, headers: {}, body: null }] : [];
  const headers = { 'content-type': 'application/json' };
  return examples.map((example) => ({ path, headers, body: JSON.stringify(example) }));
}

function judge({ status, headers, body }: Answer): void {
  expect(status).toBeLessThan(500);
  expect(headers['x-request-id']).toMatch(/^req_/);
  if (status < 400) return;
  expect(headers['content-type']).toBe('application/json; charset=utf-8');
  expect(ERRORS).toHaveProperty(body.code as string);
  expectErrorBody(body, body.code as ErrorCode);
  expect(status).toBe(body.statusCode);
  expect(body.requestId).toBe(headers['x-request-id']);
  expect(headers['x-should-retry']).toBe(String(body.retryable));
}

// Clients first: what the operator then breaks on purpose is no fault of theirs.
it('nothing that a client sends breaks a route', async () => {
  const asked = new Map<string, Set<number>>();
  for (const operation of operations.filter((one) => !isAdmin(one))) {
    const statuses = new Set<number>();
    asked.set(`${operation.method} ${operation.path}`, statuses);
    // Once as it should be, so that it does not depend on the dice whether a route was ever got through to.
    for (const plain of plainRequests(operation))
      statuses.add((await send(operation, account.key, plain)).status);
    await fc.assert(
      fc.asyncProperty(requestTo(operation, { ids, examples: examplesOf(operation) }), async (fuzzed) => {
        const answer = await send(operation, account.key, fuzzed);
        statuses.add(answer.status);
        judge(answer);
      }),
      { seed, numRuns: RUNS, endOnFailure: true },
    );
  }
  // It got beyond the first hurdle: jobs were admitted, jobs were found, and refusals were of several kinds.
  expect([...(asked.get('POST /v1/jobs') ?? [])]).toEqual(expect.arrayContaining([202, 400]));
  expect([...(asked.get('GET /v1/jobs/{id}') ?? [])]).toEqual(expect.arrayContaining([200, 400, 404]));
  expect([...(asked.get('POST /v1/jobs/batch') ?? [])]).toEqual(expect.arrayContaining([200, 400]));
}, 120_000);

it('nothing that an operator sends breaks a route', async () => {
  for (const operation of operations.filter(isAdmin)) {
    await fc.assert(
      fc.asyncProperty(requestTo(operation, { ids, examples: examplesOf(operation) }), async (fuzzed) => {
        judge(await send(operation, adminKey, fuzzed));
      }),
      { seed, numRuns: operation.method === 'GET' ? RUNS / 3 : RUNS, endOnFailure: true },
    );
  }
}, 120_000);

it('and the books are right after it all', async () => {
  const { body } = await millrace.admin.get('/v1/admin/invariants');
  expect(body).toMatchObject({ ok: true, breaches: [] });
});
