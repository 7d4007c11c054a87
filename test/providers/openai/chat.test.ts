import { once } from 'node:events';
import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { openaiProvider } from '../../../src/providers/openai/index.ts';
import type { Call, CallResult, Provider } from '../../../src/providers/provider.ts';
import { callOf, hello, httpServer, rawServer, route, type TestServer } from '../support.ts';

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const thing of open.splice(0).toReversed()) await thing.close();
});

const provider = (limits: { totalMs?: number; idleMs?: number } = {}): Provider => {
  const made = openaiProvider(limits);
  open.push(made);
  return made;
};

const opened = async (server: Promise<TestServer>): Promise<TestServer> => {
  open.push(await server);
  return server;
};

const KEY = 'sk-mill-0123456789abcdef';

/** One call against a server that writes these bytes to each whole request and then does what `after` says. */
async function answered(
  response: string | Buffer,
  after: 'keep' | 'end' | 'destroy' = 'end',
  rest: Partial<Call> = {},
): Promise<CallResult> {
  const server = await opened(
    rawServer((socket) => {
      if (after === 'destroy') return void socket.write(response, () => socket.destroy());
      socket.write(response);
      if (after === 'end') socket.end();
    }),
  );
  return provider({ idleMs: 200 }).call(route(server.baseUrl, KEY), callOf('chat', hello, rest));
}

const answer = (status: number, body: string, headers = ''): string =>
  `HTTP/1.1 ${status} X\r\ncontent-type: application/json\r\n${headers}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
const stream = (body: string): string => `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n${body}`;
const word = (content: string, finish: string | null = null): string =>
  `data: {"choices":[{"index":0,"delta":{"content":"${content}"},"finish_reason":${JSON.stringify(finish)}}]}\n\n`;

interface Seen {
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
}

/** What goes up for an input, to a server that answers well in one piece. */
async function sent(input: string, rest: Partial<Call> = {}): Promise<Seen> {
  let seen: Seen | null = null;
  const server = await opened(
    httpServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (text: string) => (body += text));
      request.on('end', () => {
        seen = { path: request.url ?? '', headers: request.headers, body };
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(
          '{"choices":[{"index":0,"message":{"role":"assistant","content":"ok"},"finish_reason":"stop"}]}',
        );
      });
    }),
  );
  const result = await provider().call(route(server.baseUrl, KEY), callOf('chat', input, rest));
  expect(result).toMatchObject({ type: 'succeeded', output: { text: 'ok' } });
  return seen!;
}

const streamOptions = async (input: string) => {
  const body = JSON.parse((await sent(input)).body) as Record<string, unknown>;
  return [body.stream, body.stream_options];
};

describe('what goes up', () => {
  it("is the client's bytes, with the model, the mode and the bound written over, and without `sim`", async () => {
    const input =
      '{ "messages" : [{"role":"user","content":"\\u00e9 \\"x\\" }"}],  "seed":12345678901234567890,"max_tokens": 9999, "sim":{"fault":"500"}, "zeta":1.0,"alpha":[ ] }';
    const { path, headers, body } = await sent(input, {
      bounds: { max_output_tokens: 77, n: 1 },
      jobId: 'job_x',
      attempt: 3,
    });
    expect(path).toBe('/v1/chat/completions');
    expect(body).toBe(
      '{ "messages" : [{"role":"user","content":"\\u00e9 \\"x\\" }"}],  "seed":12345678901234567890,"max_tokens": 77, "zeta":1.0,"alpha":[ ],"model":"upstream-model","stream":true,"stream_options":{"include_usage":true} }',
    );
    expect(headers).toMatchObject({
      authorization: `Bearer ${KEY}`,
      'idempotency-key': 'job_x-3',
      'content-type': 'application/json',
    });
    expect(Object.keys(headers).filter((name) => name.startsWith('x-millrace'))).toEqual([]);
  });

  it.each([
    ['{"messages":[]}', { max_tokens: 5 }],
    ['{"messages":[],"max_tokens":null}', { max_tokens: 5 }],
    ['{"messages":[],"max_completion_tokens":9}', { max_completion_tokens: 5 }],
    ['{"messages":[],"max_completion_tokens":9,"max_tokens":9}', { max_completion_tokens: 5, max_tokens: 5 }],
  ])('names the bound as the client did: %s', async (input, bounds) => {
    const { max_tokens, max_completion_tokens } = JSON.parse(
      (await sent(input, { bounds: { max_output_tokens: 5 } })).body,
    ) as Record<string, unknown>;
    expect({ max_tokens, max_completion_tokens }).toEqual({
      max_tokens: undefined,
      max_completion_tokens: undefined,
      ...bounds,
    });
  });

  it('asks for a stream with usage, unless the client wants none; its other options stay', async () => {
    expect(await streamOptions('{"stream":null,"stream_options":null}')).toEqual([
      true,
      { include_usage: true },
    ]);
    expect(await streamOptions('{"stream":true,"stream_options":{"x":1,"include_usage":false}}')).toEqual([
      true,
      { x: 1, include_usage: true },
    ]);
    expect(await streamOptions('{"stream":false,"stream_options":{"include_usage":true}}')).toEqual([
      false,
      undefined,
    ]);
  });
});

describe('what comes back', () => {
  it('in one piece is kept to the letter', async () => {
    const body =
      '{ "id":"c", "big":12345678901234567890, "choices":[{"message":{"content":"Grüß"}}], "usage":{"prompt_tokens":4,"completion_tokens":0} }';
    const result = await answered(answer(200, body, 'x-request-id: req-7\r\n'), 'end', {
      input: '{"messages":[],"stream":false}',
    });
    expect(result).toMatchObject({
      type: 'succeeded',
      output: { kind: 'chat', text: 'Grüß', completion: body },
      usage: [
        { name: 'token', measure: 'input', quantity: 4 },
        { name: 'token', measure: 'output', quantity: 0 },
      ],
      evidence: { sent: true, http_status: 200, provider_request_id: 'req-7' },
    });
  });

  it('in one piece, though a stream was asked for, is one delta', async () => {
    const deltas: string[] = [];
    const body = '{"choices":[{"message":{"role":"assistant","content":"all at once"}}]}';
    const result = await answered(answer(200, body), 'end', { onDelta: (delta) => deltas.push(delta) });
    expect(result).toMatchObject({ type: 'succeeded', output: { text: 'all at once' }, usage: null });
    expect(deltas).toEqual(['{"role":"assistant","content":"all at once"}']);
  });

  it.each([
    '{"prompt_tokens":-1,"completion_tokens":2}',
    '{"prompt_tokens":"3","completion_tokens":2}',
    '{"prompt_tokens":3}',
    '[]',
    '7',
  ])('with the usage %s is counted by the worker', async (usage) => {
    const result = await answered(answer(200, `{"choices":[{"message":{"content":"x"}}],"usage":${usage}}`));
    expect(result).toMatchObject({ type: 'succeeded', usage: null });
  });

  it('as a stream that keeps its connection after the last word is done soon after it', async () => {
    const result = await answered(stream(`${word('a')}${word('b', 'stop')}data: [DONE]\n\n`), 'keep');
    expect(result).toMatchObject({ type: 'succeeded', output: { text: 'ab' } });
  });

  it('as a stream is whole when all choices ended, even if the connection broke before the last word', async () => {
    expect(await answered(stream(`${word('a')}${word('b', 'stop')}`), 'destroy')).toMatchObject({
      type: 'succeeded',
      output: { text: 'ab' },
    });
  });
});

const failure = (code: string, retryable: boolean, rest: object = {}) => ({
  type: 'failed',
  code,
  retryable,
  ...rest,
});

describe('what goes wrong', () => {
  it.each([
    [400, 'provider_rejected', false],
    [401, 'provider_rejected', false],
    [403, 'provider_rejected', false],
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

describe('what is said of it', () => {
  const PROMPT = 'CANARY the secret recipe of the miller';
  const said = async (
    message: string,
    body = (text: string) => JSON.stringify({ error: { message: text, code: 'bad' } }),
  ) =>
    answered(answer(400, body(message)), 'end', {
      input: JSON.stringify({ messages: [{ role: 'user', content: PROMPT }] }),
    });

  it.each([
    `Incorrect API key provided: ${KEY}. Find yours.`,
    'Incorrect API key provided: sk-mill-01********cdef.',
    `The part "${KEY.slice(4, 20)}" of your key is wrong.`,
    `Header Bearer ${KEY} is invalid`,
  ])('holds no key: %s', async (message) => {
    const text = JSON.stringify(await said(message));
    expect(text).not.toContain(KEY);
    expect(text).not.toContain(KEY.slice(4, 16));
    expect(text).not.toContain('sk-mill');
  });

  it.each([
    `Your prompt "${PROMPT}" is bad.`,
    `bad content: ${PROMPT.slice(0, 20)}…`,
    `in <<${PROMPT.replaceAll(' ', '\n')}>>`,
  ])('holds no prompt: %s', async (message) => {
    const result = await said(message);
    expect(result).toMatchObject({ message: 'The provider rejected the request with status 400 (bad).' });
    expect(JSON.stringify(result)).not.toContain('CANARY');
  });

  it('holds no page, no code that is a text, and no more than 200 letters', async () => {
    expect(JSON.stringify(await said(PROMPT, (text) => `<html>${text}</html>`))).not.toContain('CANARY');
    expect(
      JSON.stringify(
        await said(PROMPT, (text) => JSON.stringify({ error: { code: text, type: `${text}!` } })),
      ),
    ).not.toContain('CANARY');
    const long = (await said('No. '.repeat(500))) as { message: string };
    expect(long.message.length).toBeLessThan(300);
  });

  it('is quick about large prompts', async () => {
    const began = performance.now();
    const input = JSON.stringify({
      messages: [{ role: 'user', content: 'grain and water '.repeat(250_000) }],
    });
    const result = await answered(
      answer(400, JSON.stringify({ error: { message: `${'y'.repeat(390)}` } })),
      'end',
      { input },
    );
    expect(result).toMatchObject({ code: 'provider_rejected' });
    expect(performance.now() - began).toBeLessThan(2_000);
  });
});

describe('a call that is stopped', () => {
  it('before it began touches nothing', async () => {
    const server = await opened(rawServer(() => {}));
    const result = await provider().call(
      route(server.baseUrl),
      callOf('chat', hello, { signal: AbortSignal.abort() }),
    );
    expect(result).toMatchObject({ type: 'stopped', text: '', usage: null, evidence: { sent: false } });
    expect(server.sockets.size).toBe(0);
  });

  it('while it connects never sends a request', async () => {
    const requests: string[] = [];
    const server = await opened(rawServer((_, request) => requests.push(request)));
    const calls = provider();
    const controller = new AbortController();
    const pending = calls.call(route(server.baseUrl), callOf('chat', hello, { signal: controller.signal }));
    controller.abort();
    expect(await pending).toMatchObject({ type: 'stopped', evidence: { sent: false } });
    // The next call of the same provider goes through all the same, and is the only one that is seen.
    void calls.call(route(server.baseUrl), callOf('chat', hello, { jobId: 'job_second' }));
    while (requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(requests.map((request) => /idempotency-key: (\S+)/.exec(request)?.[1])).toEqual(['job_second-1']);
  });

  it('in the middle has its socket closed at once and keeps what had come', async () => {
    let socket: Socket | null = null;
    const server = await opened(
      rawServer((from) => {
        socket = from;
        from.write(stream(word('some') + word(' words')));
      }),
    );
    const controller = new AbortController();
    let closed: Promise<unknown> | null = null;
    const onDelta = (delta: string): void => {
      if (!delta.includes('words')) return;
      closed = once(socket!, 'close');
      controller.abort();
    };
    const result = await provider().call(
      route(server.baseUrl),
      callOf('chat', hello, { signal: controller.signal, onDelta }),
    );
    expect(result).toMatchObject({
      type: 'stopped',
      text: 'some words',
      usage: null,
      evidence: { sent: true, http_status: 200 },
    });
    await closed;
  });

  it('reports the usage that the vendor had named', async () => {
    const controller = new AbortController();
    const used =
      'data: {"choices":[{"index":0,"delta":{"content":"!"}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n';
    const server = await opened(rawServer((socket) => void socket.write(stream(word('a') + used))));
    const onDelta = (delta: string): void => void (delta.includes('!') && controller.abort());
    expect(
      await provider().call(
        route(server.baseUrl),
        callOf('chat', hello, { signal: controller.signal, onDelta }),
      ),
    ).toMatchObject({
      type: 'stopped',
      usage: [{ quantity: 1 }, { quantity: 2 }],
    });
  });
});

describe('connections', () => {
  it('are used again', async () => {
    let connections = 0;
    const server = await opened(
      httpServer((request, response) => {
        request.resume().on('end', () => response.end('{"choices":[{"message":{"content":"x"}}]}'));
      }),
    );
    server.onConnection(() => connections++);
    const calls = provider();
    for (let i = 0; i < 30; i++) {
      expect(await calls.call(route(server.baseUrl), callOf('chat', hello))).toMatchObject({
        type: 'succeeded',
      });
    }
    // A connection is free again a moment after its answer, so that two take turns.
    expect(connections).toBeLessThanOrEqual(2);
  });
});
