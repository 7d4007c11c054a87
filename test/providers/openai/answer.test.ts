import { describe, expect, it } from 'vitest';
import { callOf, hello, httpServer, route } from '../support.ts';
import { answer, answered, opened, provider, stream, word } from './bad-server.ts';

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
