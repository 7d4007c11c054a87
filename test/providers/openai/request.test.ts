import type { IncomingHttpHeaders } from 'node:http';
import { describe, expect, it } from 'vitest';
import type { Call } from '../../../src/providers/provider.ts';
import { callOf, httpServer, route } from '../support.ts';
import { KEY, opened, provider } from './bad-server.ts';

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
