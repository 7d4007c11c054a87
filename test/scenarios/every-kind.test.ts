import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BACKENDS, startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';
import { chat } from '../support/client.ts';

describe.each(BACKENDS)('a job of every kind on %s', (backend) => {
  let millrace: TestPlatform;
  let account: TestAccount;
  beforeAll(async () => {
    millrace = await startPlatform({ backend });
    account = await millrace.account();
  });
  afterAll(() => millrace.stop());

  it('answers a chat, and charges what was used', async () => {
    const job = await account.run(chat('What does a mill do'));
    expect(job).toMatchObject({
      kind: 'chat',
      status: 'succeeded',
      version: 3,
      attempt: 1,
      error: null,
      queue: null,
    });
    expect(job.output.text).toContain('What does a mill do');
    expect(job.output.completion.choices[0].message.content).toBe(job.output.text);
    const [input, output] = job.usage;
    expect(job.cost.credits).toBe(input.quantity + output.quantity * 4);
    expect(job.cost.credits).toBeLessThan(job.hold.credits);
  });

  it('draws an image', async () => {
    const job = await account.run({
      model: 'sim/image',
      input: { prompt: 'a mill at dawn', size: '320x200' },
    });
    expect(job).toMatchObject({
      status: 'succeeded',
      cost: { credits: 500 },
      bounds: { n: 1, size: '320x200' },
    });
    const [image] = job.output.images;
    expect(image).toMatchObject({ content_type: 'image/png', width: 320, height: 200 });
    const bytes = await account.get(`/v1/artifacts/${image.artifact_id}/content`);
    expect(bytes.headers['content-length']).toBe(String(image.bytes));
  });

  it('speaks a sentence, and hears it again', async () => {
    const spoken = await account.run({
      model: 'sim/tts',
      input: { input: 'The miller sleeps, the wheel does not.' },
    });
    expect(spoken).toMatchObject({ status: 'succeeded', cost: { credits: 380 } });
    const heard = await account.run({
      model: 'sim/stt',
      input: { artifact: spoken.output.audio.artifact_id },
    });
    expect(heard).toMatchObject({
      status: 'succeeded',
      output: { text: 'The miller sleeps, the wheel does not.' },
    });
    expect(heard.bounds.audio_ms).toBe(spoken.output.audio.duration_ms);
  });

  it('leaves books that are right, and a queue that was that one', async () => {
    expect(millrace.platform.ctx.queue.backend).toBe(backend);
    const { body } = await millrace.admin.get('/v1/admin/invariants');
    expect(body).toMatchObject({ ok: true, breaches: [] });
    const { body: me } = await account.get('/v1/account');
    expect(me.balance.held.credits).toBe(0);
    expect(me.slots.used).toBe(0);
  });
});
