// Engines on the command line, through the whole platform: real ones from Debian, and scripts that hang.
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openClient } from '../support/client.ts';
import { type EngineFolder, engineFolder } from '../support/engines.ts';
import { eventually } from '../support/eventually.ts';
import { startPlatform, type TestAccount, type TestPlatform, type TestWorker } from '../support/platform.ts';

let engines: EngineFolder;
let millrace: TestPlatform;
let account: TestAccount;
let worker: TestWorker;
beforeAll(async () => {
  // The first time on a machine they come from Debian's mirror.
  engines = await engineFolder();
  millrace = await startPlatform({ worker: false, env: { ENGINE_PATH: engines.path, LEASE_MS: '4500' } });
  account = await millrace.account();
}, 300_000);
afterAll(async () => {
  await millrace.stop();
  engines.remove();
});

const WAIT = { withinMs: 20_000 };
const listed = async (client: Pick<TestAccount, 'get'> = account): Promise<string[]> => {
  const { body } = await client.get('/v1/models');
  return (body.data as { id: string }[]).map(({ id }) => id).filter((id) => id.startsWith('local/'));
};
const until = (what: string, ids: string[]) =>
  eventually(async () => (await listed()).join() === ids.join(), { what, ...WAIT });
const SAY = { model: 'local/flite', input: { input: 'The mill is open.' } };

describe('a model that an engine makes', () => {
  it('is not there while no worker has the engine', async () => {
    expect(await listed()).toEqual([]);
    const refused = await account.post('/v1/jobs', SAY);
    expect(refused).toMatchObject({ status: 503, body: { code: 'model_unavailable' } });
    expect(refused.headers['retry-after']).toBe('60');
  });

  it('comes and goes with the workers that have it', async () => {
    const first = await millrace.addWorker();
    await until('both are listed', ['local/flite', 'local/pocketsphinx']);
    await first.stop();
    await until('none is listed', []);
    worker = await millrace.addWorker();
    await until('both are listed again', ['local/flite', 'local/pocketsphinx']);
  });

  it('comes and goes with its program, while the worker runs on', async () => {
    const program = join(engines.path, 'espeak-ng');
    writeFileSync(program, '#!/bin/sh\nexec sleep 600\n', { mode: 0o755 });
    await until('it is listed', ['local/espeak-ng', 'local/flite', 'local/pocketsphinx']);
    rmSync(program);
    await until('it is no longer listed', ['local/flite', 'local/pocketsphinx']);
  });

  it('is not for test keys', async () => {
    const test = openClient(millrace.url, account.testKey);
    expect(await listed(test)).toEqual([]);
    expect(await test.post('/v1/jobs', SAY)).toMatchObject({
      status: 404,
      body: { code: 'model_not_found' },
    });
  });

  it('may have a route of an engine alone, whatever an operator types', async () => {
    const route = { model: 'local/flite', provider: 'exec' };
    for (const upstream_model of [
      'sh',
      'flite; id',
      '/bin/sh',
      'flite:$(id)',
      'pocketsphinx',
      'constructor',
    ]) {
      const { status, body } = await millrace.admin.post('/v1/admin/routes', { ...route, upstream_model });
      expect([upstream_model, status]).toEqual([upstream_model, 400]);
      expect(body.message).toContain('an engine that does tts');
    }
    const made = await millrace.admin.post('/v1/admin/routes', {
      ...route,
      upstream_model: 'flite:rms',
      rank: 9,
    });
    expect(made).toMatchObject({ status: 201, body: { base_url: null, upstream_model: 'flite:rms' } });
  });
});

const SENTENCES = [
  'please send the report to my office',
  'the weather is very nice in the city today',
  'we would like to buy two tickets for tomorrow',
  'the old man walked slowly along the river',
  'she opened the window and looked at the garden',
];

describe('five sentences', () => {
  it('go to speech and back with at most 0.4 of their words wrong', async () => {
    const heard = await Promise.all(SENTENCES.map(roundTrip));
    const errors = heard.map((text, i) => distance(wordsOf(SENTENCES[i]!), wordsOf(text)));
    const words = SENTENCES.flatMap(wordsOf).length;
    const rate = errors.reduce((sum, one) => sum + one, 0) / words;
    console.log(`word errors ${errors.join(', ')} of ${words} words: ${rate.toFixed(3)}`);
    expect(rate).toBeLessThanOrEqual(0.4);
    // Another sentence is not heard as this one: the measure can fail.
    expect(distance(wordsOf(SENTENCES[0]!), wordsOf(heard[1]!)) / 7).toBeGreaterThan(0.4);
  });

  async function roundTrip(sentence: string): Promise<string> {
    const spoken = await account.run({ model: 'local/flite', input: { input: sentence } });
    expect(spoken).toMatchObject({ status: 'succeeded', cost: { credits: 2 * sentence.length } });
    const { audio } = spoken.output;
    expect(audio).toMatchObject({ content_type: 'audio/wav', sample_rate: 16_000 });
    const heard = await account.run({ model: 'local/pocketsphinx', input: { artifact: audio.artifact_id } });
    expect(heard).toMatchObject({
      status: 'succeeded',
      output: { language: 'en', duration_ms: audio.duration_ms },
      usage: [{ name: 'millisecond', measure: 'input', quantity: audio.duration_ms }],
    });
    const { text, segments } = heard.output;
    expect(segments.map((segment: { text: string }) => segment.text).join(' ')).toBe(text);
    expect(segments.at(-1).end_ms).toBeLessThanOrEqual(audio.duration_ms + 100);
    return text;
  }
});

describe('a job whose engine runs', () => {
  it('is stopped at once and free when its client cancels it', async () => {
    const program = join(engines.path, 'espeak-ng');
    writeFileSync(program, `#!/bin/sh\ntouch '${program}.runs'\nexec sleep 600\n`, { mode: 0o755 });
    await until('it is listed', ['local/espeak-ng', 'local/flite', 'local/pocketsphinx']);
    const { id } = await account.submit({ ...SAY, model: 'local/espeak-ng' });
    await eventually(() => account.get(`/v1/jobs/${id}`).then(({ body }) => body.status === 'running'), {
      what: 'the job runs',
      ...WAIT,
    });
    await account.post(`/v1/jobs/${id}/cancel`);
    expect(await account.ended(id)).toMatchObject({ status: 'canceled', cost: { credits: 0 } });
    rmSync(program);
  });

  it('waits for its engine, if the worker that took it has none', async () => {
    // A worker elsewhere, by its row alone: this one's queue is the same.
    await millrace.sql(
      `insert into workers (id, lease_until, queues, host, pid, engines)
       values ('wkr_elsewhere', millrace_now() + interval '1 hour', '{tts}', 'elsewhere', 1, '{piper,piper:amy}')`,
    );
    await until('it is listed', ['local/flite', 'local/piper', 'local/pocketsphinx']);
    const { id } = await account.submit({ ...SAY, model: 'local/piper' });
    const explained = await eventually(
      async () => {
        const { body } = await account.get(`/v1/jobs/${id}/explain`);
        return body.attempts[0]?.provider ? body : null;
      },
      { what: 'an attempt was made', ...WAIT },
    );
    expect(explained.attempts[0].provider).toMatchObject({ sent: false, note: 'no piper on this worker' });
    expect((await account.get(`/v1/jobs/${id}`)).body.status).toBe('queued');
    await account.post(`/v1/jobs/${id}/cancel`);
    expect(await account.ended(id)).toMatchObject({ status: 'canceled', cost: { credits: 0 } });
    await millrace.sql(`delete from workers where id = 'wkr_elsewhere'`);
  });

  it('leaves books that are right', async () => {
    await worker.stop();
    const { body } = await millrace.admin.get('/v1/admin/invariants');
    expect(body).toMatchObject({ ok: true, breaches: [] });
  });
});

const wordsOf = (text: string): string[] => text.toLowerCase().match(/[a-z']+/g) ?? [];

/** How many words must be changed, left out or put in. */
function distance(from: string[], to: string[]): number {
  let row = [...to.keys(), to.length];
  for (const [i, word] of from.entries()) {
    const next = [i + 1];
    for (const [j, other] of to.entries())
      next.push(Math.min(row[j]! + Number(word !== other), row[j + 1]! + 1, next[j]! + 1));
    row = next;
  }
  return row.at(-1)!;
}
