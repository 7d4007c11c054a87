// What goes wrong is told apart for images, speech and transcriptions as it is for chat.
import { describe, expect, it } from 'vitest';
import type { Call, CallResult } from '../../../src/providers/provider.ts';
import { openaiProvider } from '../../../src/providers/openai/index.ts';
import { refusal, type Said, VENDOR_KEY } from '../../support/media-vendor.ts';
import { callOf, httpServer, rawServer, route } from '../support.ts';
import { artifactOf, bench, WAV } from './media.ts';

const one = bench();
const PROMPT = 'CANARY the secret recipe of the miller';
const artifact = artifactOf(WAV, 'audio/wav', 2_500);
const CALLS = [
  ['image', { prompt: PROMPT }, { bounds: { n: 1, size: '64x64' } }],
  ['tts', { input: PROMPT, response_format: 'wav' }, {}],
  ['stt', { prompt: PROMPT }, { artifact }],
] as const satisfies [Call['kind'], object, Partial<Call>][];

describe.each(CALLS)('of a call of kind %s', (kind, input, rest) => {
  const said = async (answer: Said): Promise<CallResult> => {
    one.vendor.says(answer);
    return one.call(kind, input, rest);
  };

  it.each([
    [400, 'provider_rejected', false],
    [404, 'provider_rejected', false],
    [413, 'provider_rejected', false],
    [422, 'provider_rejected', false],
    [302, 'provider_rejected', false],
    [408, 'provider_timeout', true],
    [409, 'provider_unavailable', true],
    [425, 'provider_unavailable', true],
    [429, 'provider_rate_limited', true],
    [500, 'provider_unavailable', true],
    [503, 'provider_unavailable', true],
  ])('a status of %d is %s', async (status, code, retryable) => {
    const headers = { 'retry-after': '7', location: 'http://127.0.0.1:9/', 'x-request-id': 'req_1' };
    expect(await said({ ...refusal(status, 'some_error'), headers })).toMatchObject({
      type: 'failed',
      code,
      retryable,
      retryAfterMs: 7_000,
      billed: null,
      evidence: { sent: true, http_status: status, provider_request_id: 'req_1', note: 'some_error' },
    });
  });

  it.each([401, 402, 403])('a status of %d is the operator’s to mend', async (status) => {
    expect(await said(refusal(status, 'no_credit', 'Pay.'))).toMatchObject({
      code: 'provider_unavailable',
      oursToMend: true,
      message: 'The provider does not serve this platform at present.',
    });
  });

  it.each(['moderation_blocked', 'content_policy_violation', 'content_filter'])(
    '%s is a refusal of the content, in whatever status it comes',
    async (code) => {
      const refused = { type: 'failed', code: 'content_refused', retryable: false };
      expect(await said(refusal(400, code))).toMatchObject(refused);
      expect(await said({ ...refusal(400, code), status: 200 })).toMatchObject(refused);
    },
  );

  it('an error with a status inside a success counts as that status', async () => {
    const body = { error: { message: 'slow down', code: 429 } };
    expect(await said({ body })).toMatchObject({ code: 'provider_rate_limited', retryable: true });
  });

  it('a body that is cut off fails and may be tried again; an answer that is lost is ambiguous', async () => {
    const body = { data: 'x'.repeat(10_000) };
    expect(await said({ body, cut: 50 })).toMatchObject({
      type: 'failed',
      code: 'provider_unavailable',
      retryable: true,
    });
    expect(await said({ body, cut: 'head' })).toMatchObject({
      type: 'ambiguous',
      evidence: { sent: true, http_status: null },
    });
  });

  it('a server that is not there has been sent nothing', async () => {
    const server = await rawServer(() => {});
    await server.close();
    const result = await one.provider.call(route(server.baseUrl), callOf(kind, input, rest));
    expect(result).toMatchObject({
      code: 'provider_unavailable',
      retryable: true,
      evidence: { sent: false, note: 'ECONNREFUSED' },
    });
  });

  it('an answer that does not come, or not to its end, is a timeout', async () => {
    const quick = openaiProvider({ totalMs: 300 });
    const at = route(one.vendor.url, VENDOR_KEY);
    for (const answer of [
      { body: { a: 'b'.repeat(1_000) }, hang: true },
      { body: '', type: 'a/b' },
    ]) {
      one.vendor.says(answer);
      const result = await quick.call(at, callOf(kind, input, rest));
      const code = 'hang' in answer ? 'provider_timeout' : 'provider_malformed';
      expect(result).toMatchObject({ type: 'failed', code, retryable: true });
    }
    await quick.close();
  });

  it('a stop closes the socket at once', async () => {
    const seen = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<void>();
    const server = await httpServer((request) => {
      request.resume();
      request.socket.on('close', closed.resolve);
      seen.resolve();
    });
    const stop = new AbortController();
    const call = one.provider.call(
      route(server.baseUrl),
      callOf(kind, input, { ...rest, signal: stop.signal }),
    );
    await seen.promise;
    stop.abort();
    expect(await call).toMatchObject({ type: 'stopped', text: '', usage: null, evidence: { sent: true } });
    await closed.promise;
    await server.close();
  });

  it('more than a job may return is too large, and the rest is not read', async () => {
    let written = 0;
    const server = await httpServer((request, response) => {
      request.resume();
      response.writeHead(200, { 'content-type': 'application/octet-stream' });
      const more = (): void => {
        while (!response.destroyed && written < 1 << 30 && response.write(Buffer.alloc(1 << 20)))
          written += 1 << 20;
      };
      response.on('drain', more);
      more();
    });
    const result = await one.provider.call(route(server.baseUrl), callOf(kind, input, rest));
    expect(result).toMatchObject({ code: 'output_too_large', retryable: false });
    expect(written).toBeLessThan(200 << 20);
    await server.close();
  });

  it('neither key nor prompt is in what is said of it', async () => {
    for (const message of [`Bad key ${VENDOR_KEY}`, `Bad prompt: ${PROMPT}`, `${VENDOR_KEY.slice(3, 20)}`])
      for (const status of [200, 400, 500]) {
        const text = JSON.stringify(await said({ ...refusal(status, 'bad', message), status }));
        expect(text).not.toMatch(/CANARY|sk-media|0123456789/);
      }
  });
});
