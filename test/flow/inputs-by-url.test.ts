// Inputs by URL: an upload that the API fetches, and audio that the worker does.
import { once } from 'node:events';
import {
  createServer,
  type IncomingMessage,
  request as httpRequest,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { hashSecret, makeKey } from '../../src/domain/api-key.ts';
import { newId } from '../../src/domain/ids.ts';
import { speak } from '../../src/providers/sim/sound/speak.ts';
import { wavFile } from '../../src/domain/wav.ts';
import { openClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { startPlatform, type TestAccount, type TestPlatform } from '../support/platform.ts';

const WORDS =
  'The wheel turns by night, and by day the miller sleeps beside it while the river goes where it will, over stones and under bridges, to the sea and never back, and asks nobody what it costs him to wake.';
const AUDIO = wavFile(speak(WORDS, { voice: 'alloy', speed: 1 }));
const CANARY = 'canary-of-the-far-side';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;
let millrace: TestPlatform;
let account: TestAccount;
let server: Server;
let root: string;
let seen: string[] = [];
const handlers = new Map<string, Handler>();

beforeAll(async () => {
  server = createServer((request, response) => {
    seen.push(request.url ?? '');
    const handler = handlers.get(request.url ?? '');
    if (handler) return handler(request, response);
    response.writeHead(404).end(CANARY);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  root = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  millrace = await startPlatform({ env: { EGRESS_ALLOW: '127.0.0.1' } });
  account = await millrace.account();
});
beforeEach(() => {
  seen = [];
  handlers.clear();
  handlers.set('/audio', (_, response) => response.setHeader('content-type', 'audio/wav; x=y').end(AUDIO));
});
afterAll(async () => {
  await millrace.stop();
  server.closeAllConnections();
  server.close();
});

const redirect =
  (to: string): Handler =>
  (_, response) =>
    void response.writeHead(302, { location: to }).end();
const upload = (path: string) => account.post('/v1/artifacts', { url: root + path });

/** Whether the far side's answers to this path are all over. */
const hang = (path: string): { open: () => number; end: () => void } => {
  const waiting = new Set<ServerResponse>();
  handlers.set(path, (_, response) => {
    waiting.add(response);
    response.on('close', () => waiting.delete(response));
  });
  return { open: () => waiting.size, end: () => [...waiting].forEach((response) => response.end(AUDIO)) };
};

describe('an upload by URL', () => {
  it('answers as an upload does, and is an artifact like any other', async () => {
    const { status, body, headers } = await upload('/audio');
    expect(status).toBe(201);
    expect(headers['location']).toBe(`/v1/artifacts/${body.id}`);
    expect(body).toMatchObject({
      direction: 'input',
      job_id: null,
      content_type: 'audio/wav',
      bytes: AUDIO.length,
    });
    expect(body.duration_ms).toBeGreaterThan(500);
    const heard = await account.run({ model: 'sim/stt', input: { artifact: body.id } });
    expect(heard).toMatchObject({ status: 'succeeded', output: { text: WORDS } });
    expect(seen).toEqual(['/audio']);
  });

  it('follows three redirects, and no fourth', async () => {
    for (const n of [1, 2, 3, 4]) handlers.set(`/hop${n}`, redirect(n === 1 ? '/audio' : `/hop${n - 1}`));
    expect((await upload('/hop3')).status).toBe(201);
    expect((await upload('/hop4')).body).toMatchObject({
      code: 'input_unreachable',
      statusCode: 422,
      details: { field: 'url', why: 'redirects', http_status: 302 },
    });
  });

  it.each([
    ['https://10.0.0.1/', 'private_address'],
    ['https://user:secret@example.com/', 'userinfo'],
    ['https://localhost/', 'private_address'],
    ['http://example.com/', 'scheme'],
    ['https://example.com:22/', 'port'],
    ['example.com', 'malformed'],
  ])('is refused as %s, straight and by redirect', async (url, why) => {
    const refusal = await account.post('/v1/artifacts', { url });
    expect(refusal.body).toMatchObject({ code: 'input_unreachable', details: { field: 'url', why } });
    if (why === 'malformed') return;
    handlers.set('/away', redirect(url));
    expect((await upload('/away')).body).toMatchObject({ code: 'input_unreachable', details: { why } });
  });

  it('says what the far side did, and none of its words', async () => {
    const missing = await upload('/missing');
    expect(missing.body).toMatchObject({
      code: 'input_unreachable',
      details: { why: 'http_status', http_status: 404 },
    });
    expect(JSON.stringify(missing)).not.toContain(CANARY);
    handlers.set('/huge', (_, response) =>
      response.writeHead(200, { 'content-length': 2 ** 31 }).flushHeaders(),
    );
    expect((await upload('/huge')).body).toMatchObject({ code: 'body_too_large', statusCode: 413 });
    handlers.set('/packed', (_, response) =>
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(AUDIO)),
    );
    expect((await upload('/packed')).body).toMatchObject({ code: 'input_unsupported' });
    handlers.set('/cut', (_, response) => {
      response.writeHead(200, { 'content-length': 100 }).write('x');
      setTimeout(() => response.destroy(), 50);
    });
    expect((await upload('/cut')).body).toMatchObject({
      code: 'input_unreachable',
      details: { why: 'connection' },
    });
  });

  it('has one field', async () => {
    for (const body of [{ url: root, more: 1 }, { url: 7 }, { url: null }])
      expect((await account.post('/v1/artifacts', body)).body).toMatchObject({ code: 'invalid_request' });
    expect(seen).toEqual([]);
  });

  async function secondKey(): Promise<string> {
    const { secrets } = millrace.platform.ctx;
    const { token, lookup, last4, ...made } = makeKey('live');
    const secret = hashSecret(secrets.pepper, { ...made, lookup });
    await millrace.sql(
      "insert into api_keys (id, account_id, mode, lookup, secret_hmac, last4, name) values ($1, $2, 'live', $3, $4, $5, '')",
      [newId('key'), account.id, lookup, secret, last4],
    );
    return token;
  }

  it('is one of four at once for an account, however many keys it has', async () => {
    const { open, end } = hang('/slow');
    const four = Array.from({ length: 4 }, () => upload('/slow'));
    await eventually(() => open() === 4, { what: 'four fetches', withinMs: 20_000 });
    const fifth = await openClient(millrace.url, await secondKey()).post('/v1/artifacts', {
      url: `${root}/audio`,
    });
    expect(fifth).toMatchObject({ status: 429, body: { code: 'too_many_connections', details: { max: 4 } } });
    expect(fifth.headers['retry-after']).toBe('5');
    const other = await millrace.account();
    expect((await other.post('/v1/artifacts', { url: `${root}/audio` })).status).toBe(201);
    end();
    expect((await Promise.all(four)).map(({ status }) => status)).toEqual([201, 201, 201, 201]);
    expect((await upload('/audio')).status).toBe(201);
  });

  it('ends when its client goes', async () => {
    const { open } = hang('/slow');
    const body = JSON.stringify({ url: `${root}/slow` });
    const gone = httpRequest(`${millrace.url}/v1/artifacts`, {
      method: 'POST',
      headers: { authorization: `Bearer ${account.key}`, 'content-type': 'application/json' },
    });
    gone.on('error', () => {});
    gone.end(body);
    await eventually(() => open() === 1, { what: 'a fetch', withinMs: 20_000 });
    gone.destroy();
    await eventually(() => open() === 0, { what: 'the fetch ended', withinMs: 20_000 });
  });
});

describe('audio by URL', () => {
  const stt = (path: string, rest: Record<string, unknown> = {}) => ({
    model: 'sim/stt',
    input: { url: root + path, ...rest },
  });
  const inputsOf = async (id: string): Promise<Record<string, unknown>[]> => {
    const { body } = await account.get('/v1/artifacts?limit=100');
    return body.data.filter((artifact: { job_id: string }) => artifact.job_id === id);
  };

  it('is held for the plan’s longest, fetched by the worker once, and charged by its length', async () => {
    const job = await account.run(stt('/audio', { sim: { fault: '500', times: 1 } }));
    expect(job).toMatchObject({ status: 'succeeded', attempt: 2, output: { text: WORDS } });
    expect(seen).toEqual(['/audio']);
    const [input, ...more] = await inputsOf(job.id);
    expect(more).toEqual([]);
    expect(input).toMatchObject({ direction: 'input', bytes: AUDIO.length, content_type: 'audio/wav' });
    expect(job.usage).toEqual([{ name: 'millisecond', measure: 'input', quantity: job.output.duration_ms }]);
    expect(job.bounds.audio_ms).toBeGreaterThan(job.output.duration_ms);
    expect(job.cost.credits).toBeLessThan(job.hold.credits);
  });

  it('is held for what the client names', async () => {
    const job = await account.run(stt('/audio', { max_seconds: 30 }));
    expect(job).toMatchObject({ status: 'succeeded', bounds: { audio_ms: 30_000 } });
    const beyond = await account.post('/v1/jobs', stt('/audio', { max_seconds: 86_400 }));
    expect(beyond.body).toMatchObject({ code: 'plan_cap_exceeded' });
  });

  it('fails, free and for good, where it is longer than that', async () => {
    const job = await account.run(stt('/audio', { max_seconds: 1 }));
    expect(job).toMatchObject({
      status: 'failed',
      attempt: 1,
      cost: { credits: 0 },
      error: { code: 'input_too_long', retryable: false },
    });
    expect(job.error.message).toContain((await inputsOf(job.id))[0]!['id']);
  });

  it('whose length nobody can tell is kept to no bound of the client’s: it is refused, also where it is sent', async () => {
    const aiff = Buffer.concat([Buffer.from('FORM\0\0\0\0AIFFCOMM', 'latin1'), Buffer.alloc(100_000, 1)]);
    handlers.set('/aiff', (_, response) => response.setHeader('content-type', 'audio/aiff').end(aiff));
    expect(await account.run(stt('/aiff', { max_seconds: 1 }))).toMatchObject({
      status: 'failed',
      attempt: 1,
      cost: { credits: 0 },
      error: { code: 'input_unsupported', retryable: false },
    });
    const { id } = (await upload('/aiff')).body;
    for (const input of [{ artifact: id }, { audio: aiff.toString('base64') }]) {
      const bounded = { model: 'sim/stt', input: { ...input, max_seconds: 1 } };
      expect((await account.post('/v1/jobs', bounded)).body).toMatchObject({
        code: 'input_unsupported',
        details: { field: 'input.max_seconds' },
      });
      const quote = await account.post('/v1/jobs?dry_run=true', { model: 'sim/stt', input });
      expect(quote.body.bounds.audio_ms).toBeGreaterThan(60_000);
    }
  });

  it.each([
    ['no audio', '/page', 'input_unsupported', 'not audio'],
    ['a missing one', '/missing', 'input_unreachable', 'status 404'],
    ['one that leads to a private place', '/away', 'input_unreachable', 'public internet'],
  ])('fails, free and for good, behind %s', async (_, path, code, words) => {
    handlers.set('/page', (__, response) =>
      response.setHeader('content-type', 'audio/wav').end(`<p>${CANARY}`),
    );
    handlers.set('/away', redirect('https://169.254.169.254/latest/meta-data/'));
    const job = await account.run(stt(path));
    expect(job).toMatchObject({
      status: 'failed',
      attempt: 1,
      cost: { credits: 0 },
      error: { code, retryable: false },
    });
    expect(job.error.message).toContain(words);
    expect(JSON.stringify(job)).not.toContain(CANARY);
    expect(await inputsOf(job.id)).toEqual([]);
  });

  it('is tried again where the far side is in trouble', async () => {
    let calls = 0;
    handlers.set(
      '/shaky',
      (_, response) => void ((calls += 1) === 1 ? response.writeHead(503).end() : response.end(AUDIO)),
    );
    expect(await account.run(stt('/shaky'))).toMatchObject({ status: 'succeeded', attempt: 2 });
    handlers.set('/down', (_, response) => void response.writeHead(500).end());
    expect(await account.run(stt('/down'))).toMatchObject({
      status: 'failed',
      attempt: 3,
      error: { code: 'input_unreachable', retryable: true },
    });
  });

  it('is no longer fetched when its job is canceled, or at its deadline', async () => {
    const { open } = hang('/slow');
    const canceled = await account.submit(stt('/slow'));
    await eventually(() => open() === 1, { what: 'a fetch', withinMs: 20_000 });
    await account.post(`/v1/jobs/${canceled.id}/cancel`);
    expect(await account.ended(canceled.id)).toMatchObject({ status: 'canceled', cost: { credits: 0 } });
    await eventually(() => open() === 0, { what: 'the fetch ended', withinMs: 20_000 });
    const late = await account.submit({ ...stt('/slow'), expires_in: 2 });
    expect(await account.ended(late.id)).toMatchObject({ status: 'expired', cost: { credits: 0 } });
    await eventually(() => open() === 0, { what: 'the fetch ended', withinMs: 20_000 });
  });

  it('that the provider refuses is charged by its length, too, where refusals are', async () => {
    const [{ admin }, line] = [
      millrace,
      { name: 'millisecond', measure: 'input', credits_per_million: '1000000' },
    ];
    const data = { charge_refused: true };
    await admin.send('PUT', '/v1/admin/models/strict/stt', { body: { kind: 'stt', data } });
    await admin.post('/v1/admin/prices', { model: 'strict/stt', lines: [line] });
    const route = { model: 'strict/stt', provider: 'sim', upstream_model: 'sim-stt', cost: [line] };
    await admin.post('/v1/admin/routes', { ...route, data: { unknown_fields: 'pass' } });
    const heard = await account.run(stt('/audio'));
    const refused = await account.run({
      ...stt('/audio', { sim: { fault: 'refusal' } }),
      model: 'strict/stt',
    });
    expect(refused).toMatchObject({
      status: 'failed',
      error: { code: 'content_refused' },
      usage: heard.usage,
      cost: { credits: heard.output.duration_ms },
    });
  });

  it('is refused at submission as far as its URL shows, and nothing is fetched', async () => {
    for (const query of ['', '?dry_run=true']) {
      const { body } = await account.post(`/v1/jobs${query}`, {
        model: 'sim/stt',
        input: { url: 'https://[::ffff:169.254.169.254]/' },
      });
      expect(body).toMatchObject({
        code: 'input_unreachable',
        statusCode: 422,
        details: { field: 'input.url', why: 'private_address' },
      });
    }
    expect((await account.post('/v1/jobs?dry_run=true', stt('/audio'))).status).toBe(200);
    expect(seen).toEqual([]);
  });

  it('leaves books that are right', async () => {
    const { body } = await millrace.admin.get('/v1/admin/invariants');
    expect(body).toMatchObject({ ok: true, breaches: [] });
    const { body: me } = await account.get('/v1/account');
    expect(me.balance.held.credits).toBe(0);
  });
});
