// What operators may sell: only what can be priced, and done.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { readCredentials } from '../../src/platform.ts';
import { makeAccount, type TestAccount } from '../support/accounts.ts';
import { chat, type Client, openClient } from '../support/client.ts';
import { sample } from '../support/metrics.ts';
import { install, type Installation } from '../support/platform.ts';
import { type Role, spawnApi } from '../support/spawn.ts';

let installation: Installation;
let api: Role;
let admin: Client;
let account: TestAccount;
beforeAll(async () => {
  installation = await install('postgres');
  api = await spawnApi(installation);
  const credentials = await readCredentials(readConfig(installation.env));
  admin = openClient(api.url, credentials?.admin_key ?? '');
  account = await makeAccount(api.url, admin);
});
afterAll(async () => {
  await api.drain();
  await installation.remove();
});

const line = (name: string, measure: string, rate = '1000000') => ({
  name,
  measure,
  credits_per_million: rate,
});
const TOKENS = [line('token', 'input'), line('token', 'output')];

describe('a price', () => {
  it.each([
    ['sim/chat', []],
    ['sim/chat', [line('token', 'input')]],
    ['sim/chat', [...TOKENS, line('token', 'output')]],
    ['sim/chat', [...TOKENS, line('image', 'output')]],
    ['sim/chat', [line('image', 'output')]],
    ['sim/image', [line('image', 'input')]],
    ['sim/tts', [...TOKENS, line('character', 'input')]],
    ['sim/tts', [line('token', 'input')]],
    ['sim/stt', [line('character', 'input')]],
  ])('of %s is refused with lines %j', async (model, lines) => {
    const { status, body } = await admin.post('/v1/admin/prices', { model, lines });
    expect([status, body.code]).toEqual([400, 'invalid_request']);
    expect(body.message).toMatch(/^lines must hold one line each for \w+ (in|out)put.*kind \w+\.$/);
  });

  it.each([
    ['sim/chat', TOKENS.toReversed()],
    ['sim/image', [line('image', 'output', '0')]],
    ['sim/tts', [line('character', 'input')]],
    ['sim/stt', [line('millisecond', 'input')]],
  ])('of %s is taken with lines %j', async (model, lines) => {
    expect((await admin.post('/v1/admin/prices', { model, lines })).status).toBe(201);
  });

  it.each([
    ['image', { image_tokens: 272 }, ['image_tokens']],
    ['tts', { tokens_per_character: 1.5 }, ['tokens_per_character']],
    [
      'stt',
      { input_tokens_per_second: 10, output_tokens_per_second: 5 },
      ['input_tokens_per_second', 'output_tokens_per_second'],
    ],
  ])('in tokens of kind %s needs data that bound them, and keeps them there', async (kind, data, missing) => {
    const path = `/v1/admin/models/by-token/${kind}`;
    const price = { model: `by-token/${kind}`, lines: TOKENS };
    const put = (body: object) => admin.send('PUT', path, { body });
    const issue = { expected: missing };
    await put({ kind });
    const early = await admin.post('/v1/admin/prices', price);
    expect([early.status, early.body.details.issues[0]]).toMatchObject([400, { path: 'lines', ...issue }]);
    await put({ kind, data });
    expect((await admin.post('/v1/admin/prices', price)).status).toBe(201);
    const late = await put({ kind });
    expect([late.status, late.body.details.issues[0]]).toMatchObject([400, { path: 'data', ...issue }]);
  });

  it('that is missing is an error in the log and a count', async () => {
    await admin.send('PUT', '/v1/admin/models/un/priced', { body: { kind: 'chat' } });
    const route = { model: 'un/priced', provider: 'sim', cost: [line('token', 'input')] };
    expect((await admin.post('/v1/admin/routes', route)).status).toBe(201);
    const job = { ...chat(), model: 'un/priced' };
    for (let i = 0; i < 3; i++) {
      const { status, body } = await account.post('/v1/jobs', job);
      expect([status, body.code, body.details]).toEqual([422, 'price_unknown', { model: 'un/priced' }]);
    }
    expect(await sample(api.url, 'millrace_refusals_total{code="price_unknown"}')).toBe(3);
    const said = api.log.filter((one) => one.includes('has no price'));
    expect(said.map((one) => JSON.parse(one))).toMatchObject([
      { level: 'error', model: 'un/priced', count: 1 },
    ]);
  });
});

describe('what was changed', () => {
  it('holds from its answer on, however many changes are read at once', async () => {
    const changes = Array.from({ length: 30 }, async (_, i) => {
      const model = `many/${i}`;
      for (let round = 0; round < 3; round++)
        await admin.send('PUT', `/v1/admin/models/${model}`, { body: { kind: 'chat' } });
      return (await admin.post('/v1/admin/prices', { model, lines: TOKENS })).status;
    });
    expect(new Set(await Promise.all(changes))).toEqual(new Set([201]));
  });
});

describe('a cost', () => {
  it('is refused where it is of another kind', async () => {
    const route = { model: 'sim/chat', provider: 'sim', cost: [line('image', 'output')] };
    const { status, body } = await admin.post('/v1/admin/routes', route);
    expect([status, body.details.issues[0].path]).toEqual([400, 'cost']);
  });
});

describe('a route', () => {
  const base_url = 'https://vendor.example/v1';
  it('to a provider that cannot do its kind is refused', async () => {
    const { status, body } = await admin.post('/v1/admin/routes', { model: 'sim/chat', provider: 'exec' });
    expect([status, body.details.issues[0]]).toMatchObject([
      400,
      { path: 'provider', expected: ['sim', 'openai', 'replicate'] },
    ]);
    expect(body.message).toMatch(/exec does no chat, which can be done by sim and openai and replicate\.$/);
  });

  it.each([
    ['sim/chat', { voice: 'alto' }, 'data.voice'],
    ['sim/chat', { leave_out: ['seed'] }, 'data.leave_out'],
    ['sim/image', { transcript_format: 'json' }, 'data.transcript_format'],
    ['sim/image', { fields: ['voice'] }, 'data.fields'],
    ['sim/tts', { leave_out: ['sped'] }, 'data.leave_out'],
    ['sim/stt', { pcm_rate: 16_000 }, 'data.pcm_rate'],
  ])('of %s is refused with data %j', async (model, data, path) => {
    const { status, body } = await admin.post('/v1/admin/routes', {
      model,
      provider: 'openai',
      base_url,
      data,
    });
    expect([status, body.details.issues[0].path]).toEqual([400, path]);
  });

  it.each([
    ['chat', { fields: ['service_tier'], unknown_fields: 'refuse' }],
    ['image', { fields: ['quality', 'seed', 'artifact'], leave_out: ['response_format'] }],
    [
      'tts',
      { fields: ['instructions', 'stream_format'], leave_out: ['speed'], voice: 'alto', pcm_rate: 16_000 },
    ],
    ['stt', { transcript_format: 'srt', leave_out: ['prompt'] }],
  ])('of kind %s is taken with data %j', async (kind, data) => {
    const model = `routed/${kind}`;
    await admin.send('PUT', `/v1/admin/models/${model}`, { body: { kind } });
    const { status, body } = await admin.post('/v1/admin/routes', {
      model,
      provider: 'openai',
      base_url,
      data,
    });
    expect([status, body.data]).toEqual([201, data]);
  });
});

describe('a model that cannot run', () => {
  it.each([
    [{ kind: 'chat', enabled: false }, 'The model is switched off at present.'],
    [{ kind: 'chat' }, 'The model has no route at present.'],
  ])('%j says why and when to ask again, and leaves a line without a stack', async (form, message) => {
    await admin.send('PUT', '/v1/admin/models/idle', { body: form });
    const { status, body, headers } = await account.post('/v1/jobs', { ...chat(), model: 'idle' });
    expect([status, body.code, body.message]).toEqual([503, 'model_unavailable', message]);
    expect(headers).toMatchObject({
      'retry-after': '60',
      'retry-after-ms': '60000',
      'x-should-retry': 'true',
    });
    const said = JSON.parse(api.log.find((one) => one.includes(body.requestId)) ?? '{}');
    expect(said).toEqual({
      level: 'warn',
      time: said.time,
      pid: api.pid,
      request: body.requestId,
      method: 'POST',
      route: '/v1/jobs',
      ip: '127.0.0.1',
      status: 503,
      code: 'model_unavailable',
      msg: 'a request failed',
    });
  });
});
