import { describe, expect, it } from 'vitest';
import { callOf, hello, rawServer, route } from '../support.ts';
import { answer, answered, failure, opened, provider, stream, word } from './bad-server.ts';

describe('what goes wrong', () => {
  it.each([
    [400, 'provider_rejected', false],
    [404, 'provider_rejected', false],
    [422, 'provider_rejected', false],
    [302, 'provider_rejected', false],
    [408, 'provider_timeout', true],
    [409, 'provider_unavailable', true],
    [425, 'provider_unavailable', true],
    [429, 'provider_rate_limited', true],
    [500, 'provider_unavailable', true],
    [502, 'provider_unavailable', true],
    [529, 'provider_unavailable', true],
  ])('a status of %d is %s', async (status, code, retryable) => {
    const result = await answered(
      answer(status, '{"error":{"message":"It is closed.","type":"some_error","code":null}}'),
    );
    expect(result).toMatchObject(
      failure(code, retryable, {
        retryAfterMs: null,
        billed: null,
        evidence: { http_status: status, note: 'some_error' },
      }),
    );
    expect((result as { message: string }).message).toContain('It is closed.');
  });

  it.each([401, 402, 403])(
    'a status of %d is the operator’s to mend, and the client is not told what the vendor said',
    async (status) => {
      const result = await answered(
        answer(status, '{"error":{"message":"It is closed.","code":"no_credit"}}'),
      );
      const evidence = { http_status: status, note: 'no_credit' };
      expect(result).toMatchObject(failure('provider_unavailable', true, { oursToMend: true, evidence }));
      expect((result as { message: string }).message).toBe(
        'The provider does not serve this platform at present.',
      );
    },
  );

  it.each([
    ['retry-after: 7', 7_000],
    ['retry-after: 0.5', 500],
    ['retry-after: 99999999999', 86_400_000],
    ['retry-after-ms: 1500\r\nretry-after: 2', 1_500],
    ['retry-after: Wed, 21 Oct 2015 07:28:00 GMT', 0],
    ['retry-after: soon', null],
    ['retry-after: -5', null],
  ])('%s is a pause of %d ms', async (header, retryAfterMs) => {
    expect(await answered(answer(429, '{}', `${header}\r\n`))).toMatchObject({ retryAfterMs });
  });

  it('a date to come is a pause until then', async () => {
    const at = new Date(Date.now() + 60_000).toUTCString();
    const { retryAfterMs } = (await answered(answer(503, '', `retry-after: ${at}\r\n`))) as {
      retryAfterMs: number;
    };
    expect(retryAfterMs).toBeGreaterThan(50_000);
    expect(retryAfterMs).toBeLessThanOrEqual(60_000);
  });

  it.each([
    '{"error":{"message":"no","type":"invalid_request_error","code":"content_policy_violation"}}',
    '{"error":{"message":"no","code":"content_filter","innererror":{"code":"ResponsibleAIPolicyViolation"}}}',
    '{"error":{"message":"no","type":"moderation_blocked"}}',
  ])('%s is a refusal of the content', async (body) => {
    expect(await answered(answer(400, body))).toMatchObject(failure('content_refused', false));
  });

  it.each([
    ['{"choices":[{"mess', 'broken JSON'],
    ['[1]', 'a list'],
    ['{"choices":[]}', 'no choice'],
    ['{"choices":[{"text":"a"}]}', 'no message'],
    ['', 'nothing'],
    ['<html>hello</html>', 'a page'],
    ['{"error":{"message":"upstream","code":null}}', 'an error'],
  ])('a success with the body %s is malformed', async (body) => {
    expect(await answered(answer(200, body))).toMatchObject(
      failure('provider_malformed', true, { evidence: { http_status: 200 } }),
    );
  });

  it('an error with a status inside a success counts as that status', async () => {
    const body = '{"error":{"message":"slow down","code":429}}';
    expect(await answered(answer(200, body))).toMatchObject(failure('provider_rate_limited', true));
    expect(await answered(stream(`${word('a')}data: ${body}\n\n`))).toMatchObject(
      failure('provider_rate_limited', true),
    );
  });

  it('a compressed answer, which nobody asked for, is malformed', async () => {
    const zipped = Buffer.from('H4sIAAAAAAAAA6tWSkksSVSyUqoFAJ4YPxQMAAAA', 'base64');
    const head = `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: ${zipped.length}\r\n\r\n`;
    expect(await answered(Buffer.concat([Buffer.from(head), zipped]))).toMatchObject(
      failure('provider_malformed', true),
    );
  });

  it.each([
    ['a stream cut off', stream(word('a')), 'destroy', 'provider_malformed'],
    [
      'a body cut off',
      answer(200, '{"choices":[{"message":{"content":"a"}}]}').slice(0, -9),
      'destroy',
      'provider_unavailable',
    ],
    [
      'a chunked stream cut off',
      `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/event-stream\r\n\r\n40\r\n${word('a')}`,
      'destroy',
      'provider_unavailable',
    ],
    ['a stream that ends too early', stream(word('a')), 'end', 'provider_malformed'],
    ['a stream that falls silent', stream(word('a')), 'keep', 'provider_timeout'],
    [
      'a body that falls silent',
      answer(200, '{"choices":[{"message":{"content":"a"}}]}').slice(0, -9),
      'keep',
      'provider_timeout',
    ],
  ] as const)('%s fails, and may be tried again', async (_, response, after, code) => {
    expect(await answered(response, after)).toMatchObject(
      failure(code, true, { evidence: { sent: true, http_status: 200 } }),
    );
  });

  it('a head that never comes is a timeout, by the limit of a stream and of an attempt', async () => {
    const server = await opened(rawServer(() => {}));
    const call = callOf('chat', hello);
    expect(await provider({ idleMs: 200 }).call(route(server.baseUrl), call)).toMatchObject(
      failure('provider_timeout', true, { evidence: { sent: true, http_status: null } }),
    );
    expect(await provider({ totalMs: 100 }).call(route(server.baseUrl), call)).toMatchObject(
      failure('provider_timeout', true),
    );
  });

  it('a stream that drips for ever ends at the limit of an attempt', async () => {
    const server = await opened(
      rawServer((socket) => {
        socket.write(stream(''));
        const timer = setInterval(() => socket.write(':\n'), 20);
        socket.on('close', () => clearInterval(timer));
      }),
    );
    const result = await provider({ idleMs: 200, totalMs: 500 }).call(
      route(server.baseUrl),
      callOf('chat', hello),
    );
    expect(result).toMatchObject(failure('provider_timeout', true));
  });

  it('a connection that is lost before any answer is ambiguous', async () => {
    expect(await answered('', 'destroy')).toMatchObject({
      type: 'ambiguous',
      evidence: { sent: true, http_status: null },
    });
    expect(await answered('HTTP/1.1 200 O', 'destroy')).toMatchObject({ type: 'ambiguous' });
  });

  it('a server that is not there has been sent nothing', async () => {
    const server = await rawServer(() => {});
    await server.close();
    expect(await provider().call(route(server.baseUrl), callOf('chat', hello))).toMatchObject(
      failure('provider_unavailable', true, { evidence: { sent: false, note: 'ECONNREFUSED' } }),
    );
  });

  it('a name that nobody has is unavailable', async () => {
    const result = await provider().call(route('http://no-such-host.invalid/v1'), callOf('chat', hello));
    expect(result).toMatchObject(failure('provider_unavailable', true, { evidence: { sent: false } }));
  });

  it.each([
    ['in one piece', 'content-type: application/json', '{"choices":[{"mess'],
    ['as a stream', 'content-type: text/event-stream', 'data: {"choices":[{"index":0,"delta":{"content":"'],
  ])('more than 8 MiB %s is too large, and the rest is not read', async (_, type, start) => {
    let written = 0;
    const server = await opened(
      rawServer((socket) => {
        socket.write(`HTTP/1.1 200 OK\r\n${type}\r\n\r\n${start}`);
        const more = (): void => {
          while (!socket.destroyed && socket.write(Buffer.alloc(64 << 10, 'x'))) written += 64 << 10;
        };
        socket.on('drain', more);
        more();
      }),
    );
    const result = await provider().call(
      route(server.baseUrl),
      callOf('chat', { ...hello, stream: type.includes('event') }),
    );
    expect(result).toMatchObject(failure('output_too_large', false));
    expect(written).toBeLessThan(32 << 20);
  });

  it('what a broken stream used is reported as billed', async () => {
    const used = 'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}\n\n';
    expect(await answered(stream(`${word('a')}${used}`), 'end')).toMatchObject({
      type: 'failed',
      billed: [
        { name: 'token', measure: 'input', quantity: 5 },
        { name: 'token', measure: 'output', quantity: 6 },
      ],
    });
  });
});
