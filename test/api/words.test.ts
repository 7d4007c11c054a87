// Refusals are for people: they say what is wrong in words, with an example of what is right.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formOf, FORMS } from '../../src/api/wrong.ts';
import { isInstant } from '../../src/domain/instant.ts';
import { chat } from '../support/client.ts';
import { readDocument, type Schema } from '../support/document.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';

let millrace: TestPlatform;
let account: TestAccount;
beforeAll(async () => {
  millrace = await startPlatform({ worker: false });
  account = await millrace.account();
});
afterAll(() => millrace.stop());

const image = (input: object) => ({ model: 'sim/image', input: { prompt: 'a mill', ...input } });

describe('a refusal', () => {
  it.each<[string, object, string, unknown]>([
    ['an empty text', image({ prompt: '' }), 'input.prompt must not be empty.', 1],
    [
      'a long text',
      { ...chat(), end_user: 'x'.repeat(257) },
      'end_user must have at most 256 characters.',
      256,
    ],
    [
      'a list that is empty',
      { model: 'sim/chat', input: { messages: [] } },
      'input.messages must not be empty.',
      1,
    ],
    ['a number', image({ n: 0 }), 'input.n must be at least 1.', 1],
    ['a number for a text', image({ prompt: 7 }), 'input.prompt must be a text.', 'string'],
    [
      'a text for a list',
      { model: 'sim/chat', input: { messages: 'x' } },
      'input.messages must be a list.',
      'array',
    ],
    [
      'a size',
      image({ size: 'big' }),
      'input.size must be a width and a height in pixels, as "512x512".',
      '512x512',
    ],
    [
      'a time',
      { ...chat(), deadline: 'tomorrow' },
      'deadline must be an instant of RFC 3339, as "2026-11-20T12:00:00Z".',
      '2026-11-20T12:00:00Z',
    ],
    [
      'a word',
      { ...chat(), priority: 'urgent' },
      'priority must be one of: high, normal, low.',
      ['high', 'normal', 'low'],
    ],
    ['a field that is missing', { model: 'sim/image', input: {} }, 'input.prompt is required.', 'a value'],
    [
      'a name that is too long',
      { ...chat(), metadata: { ['x'.repeat(41)]: 'y' } },
      `metadata.${'x'.repeat(41)} must have a name of at most 40 characters.`,
      40,
    ],
    [
      "an input's field beside it",
      { ...chat(), max_tokens: 5 },
      'max_tokens belongs in input.',
      'input.max_tokens',
    ],
    [
      "a vendor's field beside it",
      { ...chat(), temperature: 1 },
      'temperature belongs in input.',
      'input.temperature',
    ],
    [
      'a field that we do not know beside the input',
      { ...chat(), colour: 'red' },
      'colour is not a field we know; what the model is to be asked belongs in input.',
      'no such field',
    ],
    [
      'a field that we do not know in it',
      image({ colour: 'red' }),
      'input.colour is not a field we know.',
      'no such field',
    ],
  ])('of %s', async (_, body, message, expected) => {
    const answer = await account.post('/v1/jobs', body);
    expect(answer.status).toBe(400);
    expect(answer.body.message).toBe(message);
    expect(answer.body.details.issues[0].expected).toEqual(expected);
    const batch = await account.post('/v1/jobs/batch', { jobs: [body] });
    expect(batch.body.data[0].error.message).toBe(message);
  });

  it('of a cursor names the kind of id', async () => {
    const { body } = await account.get('/v1/jobs?after=art_1');
    expect(body.message).toMatch(/^after must be the id of a job, as "job_[0-9a-z]{26}"\.$/);
  });

  it("of an operator's form says what a price is written like", async () => {
    const price = (credits: unknown) => ({
      model: 'sim/chat',
      lines: [{ name: 'token', measure: 'input', credits_per_million: credits }],
    });
    const { body } = await millrace.admin.post('/v1/admin/prices', price(5));
    expect(body.message).toContain('credits_per_million must be 1 to 18 digits, in quotes, as "1000000".');
    const { body: dollars } = await millrace.admin.post('/v1/admin/prices', price('$5'));
    expect(dollars.message).toContain('credits_per_million must be 1 to 18 digits, as "1000000".');
  });

  it('of a plan names those there are', async () => {
    const { body: plans } = await millrace.admin.get('/v1/admin/plans');
    const ids = plans.data.map(({ id }: { id: string }) => id);
    expect(ids).toContain('startup');
    const plan = 'gold';
    for (const { body } of [
      await millrace.admin.post('/v1/admin/accounts', { name: 'x', plan }),
      await millrace.admin.send('PATCH', `/v1/admin/accounts/${account.id}`, { body: { plan, reason: 'x' } }),
    ]) {
      expect(body.message).toBe(`plan must be one of: ${ids.join(', ')}.`);
      expect(body.details.issues[0].expected).toEqual(ids);
    }
  });

  it("of an account's key at an operator's address says so", async () => {
    const { body } = await account.get('/v1/admin/plans');
    expect(body).toMatchObject({ code: 'scope_denied', details: { needed: 'admin', granted: 'live' } });
    expect(body.message).toBe("This is an account's key. /v1/admin takes an operator's key only.");
  });

  it('of a model names one that is like it, and where they all are', async () => {
    const near = await account.post('/v1/jobs', { ...chat(), model: 'sim/chatt' });
    expect(near.body).toMatchObject({ code: 'model_not_found', details: { did_you_mean: 'sim/chat' } });
    expect(near.body.message).toBe(
      'There is no such model. Did you mean sim/chat? GET /v1/models lists those there are.',
    );
    const far = await account.post('/v1/jobs', { ...chat(), model: 'gpt-4o' });
    expect(far.body.message).toBe('There is no such model. GET /v1/models lists those there are.');
  });
});

describe('every pattern and format that the API takes', () => {
  it('is said in words, with an example that fits', async () => {
    const document = await readDocument(millrace.admin);
    const asked = Object.values(document.paths).flatMap((methods) =>
      Object.values(methods).flatMap(({ parameters = [], requestBody }) => [
        ...parameters.map(({ schema }) => schema),
        ...Object.values(requestBody?.content ?? {}).map(({ schema }) => schema),
      ]),
    );
    const forms = asked.flatMap(withForms);
    expect(forms.length).toBeGreaterThan(20);
    for (const form of forms) expect(formOf(form), JSON.stringify(form)).toBeDefined();
    for (const [form, { like }] of Object.entries(FORMS))
      expect(form === 'date-time' ? isInstant(like) : new RegExp(form).test(like), form).toBe(true);
  });
});

function withForms(schema: Schema): Schema[] {
  const { properties = {}, items, anyOf = [] } = schema;
  const inner = [...Object.values(properties), ...(items ? [items] : []), ...anyOf].flatMap(withForms);
  const isForm = schema.pattern !== undefined || (schema.format !== undefined && schema.format !== 'binary');
  return isForm ? [schema, ...inner] : inner;
}
