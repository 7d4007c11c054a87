// What the seeded plans and prices come to, as a client meets them.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { chat, type Json } from '../support/client.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';

let millrace: TestPlatform;
let free: TestAccount;
beforeAll(async () => {
  millrace = await startPlatform({ worker: false });
  free = await millrace.account({ plan: 'free', credits: 50_000 });
});
afterAll(() => millrace.stop());

const image = (input: Record<string, unknown> = {}) => ({
  model: 'sim/image',
  input: { prompt: 'a mill', ...input },
});
const quote = async (job: unknown): Promise<Json> => (await free.post('/v1/jobs?dry_run=true', job)).body;
const MINUTE_OF_AUDIO = { model: 'sim/stt', input: { audio: 'UklGRg==', max_seconds: 60 } };

it.each([
  ['free', 1, 10],
  ['developer', 1, 20],
  ['startup', 10, 1_000],
  ['production', 25, 5_000],
  ['scale', 100, 20_000],
])('%s has %i slots and a line of %i', async (plan, slots, line) => {
  const account = await millrace.account({ plan });
  const { body } = await account.get('/v1/account');
  expect(body).toMatchObject({
    plan: { id: plan },
    slots: { used: 0, total: slots },
    line: { waiting: 0, max: line },
  });
});

it('an account may have more or less than its plan', async () => {
  const caps = [{ cap: 'max_output_tokens', max: 7 }];
  const account = await millrace.account({ plan: 'free', overrides: { slots: 3, caps, max_deadline_s: 60 } });
  const { body } = await account.get('/v1/account');
  expect(body).toMatchObject({
    plan: { id: 'free' },
    slots: { total: 3 },
    line: { max: 10 },
    caps: { max_output_tokens: 7 },
  });
  expect((await account.post('/v1/jobs?dry_run=true', chat('x'))).body.bounds).toEqual({
    max_output_tokens: 7,
    n: 1,
  });
  expect((await account.post('/v1/jobs?dry_run=true', chat('x', { max_tokens: 8 }))).body.code).toBe(
    'plan_cap_exceeded',
  );
  // The override stands in the place of the plan's caps, all of them.
  expect((await account.post('/v1/jobs?dry_run=true', image({ n: 2 }))).body.bounds).toMatchObject({ n: 2 });
  expect((await account.post('/v1/jobs', { ...chat('x'), expires_in: 61 })).body.code).toBe(
    'invalid_request',
  );
  const { body: job } = await account.post('/v1/jobs', chat('x'));
  expect(Date.parse(job.deadline) - Date.parse(job.created_at)).toBe(60_000);
});

it('free bounds what is not named, and refuses what is named beyond it', async () => {
  expect((await quote(chat('x'))).bounds).toEqual({ max_output_tokens: 512, n: 1 });
  expect((await quote(image())).bounds).toEqual({ n: 1, size: '512x512' });
  const part = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } };
  const attached = { model: 'sim/chat', input: { messages: [{ role: 'user', content: [part] }] } };
  const refused: [unknown, object][] = [
    [chat('x', { max_tokens: 513 }), { rule: 'max_output_tokens', field: 'input.max_tokens', max: 512 }],
    [chat('x', { n: 2 }), { rule: 'image_count', field: 'input.n', max: 1 }],
    [attached, { rule: 'image_attachment', field: 'input.messages', max: 0 }],
    [image({ n: 2 }), { rule: 'image_count', field: 'input.n', max: 1 }],
    [image({ size: '513x512' }), { rule: 'image_size', field: 'input.size', max: '512x512' }],
  ];
  for (const [job, details] of refused) {
    const answer = await free.post('/v1/jobs', job);
    expect(answer).toMatchObject({
      status: 403,
      body: { code: 'plan_cap_exceeded', retryable: false, details },
    });
  }
  expect((await quote(chat('x', { max_tokens: 512 }))).admitted).toBe(true);
});

it('free’s daily credits go as far as they should', async () => {
  const { body: models } = await free.get('/v1/models');
  const tagsOf = (id: string) => models.data.find((model: Json) => model.id === id).tags;
  expect(tagsOf('sim/chat')).toContain('free');
  expect(tagsOf('sim/image')).toEqual(expect.arrayContaining(['free', 'cap512']));
  expect((await quote(image({ size: '512x512' }))).hold.credits).toBeLessThanOrEqual(512);
  const answer = await quote(chat('A prompt of a few hundred bytes. '.repeat(20), { max_tokens: 512 }));
  expect(10 * answer.hold.credits).toBeLessThanOrEqual(50_000);
  for (const job of [
    chat('x'),
    image(),
    { model: 'sim/tts', input: { input: 'A sentence to be spoken.' } },
    MINUTE_OF_AUDIO,
  ])
    expect(await quote(job)).toMatchObject({ admitted: true });
});
