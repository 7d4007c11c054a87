import { describe, expect, it } from 'vitest';
import type { CallResult } from '../../../src/providers/provider.ts';
import { simProvider } from '../../../src/providers/sim/index.ts';
import { callOf, hello, httpServer, route } from '../support.ts';

const following = async (answers: string[], totalMs = 10_000): Promise<CallResult> => {
  let asked = 0;
  const server = await httpServer((request, response) => {
    request.resume().on('end', () => {
      if (request.method === 'POST')
        return void response.writeHead(202).end('{"id":"rem_1","status":"queued"}');
      const answer = answers[Math.min(asked++, answers.length - 1)]!;
      if (answer === 'drop') return void request.socket.destroy();
      response.writeHead(answer === 'missing' ? 404 : 200).end(answer);
    });
  });
  const other = simProvider({ url: server.baseUrl.replace('/v1', ''), totalMs: { chat: totalMs } });
  const result = await other.call(route(), callOf('chat', hello));
  await other.close();
  await server.close();
  return result;
};

describe('work for later at a vendor with its own words', () => {
  const done = '{"status":"succeeded","result":{"choices":[{"message":{"content":"late"}}]}}';

  it('goes on through lost polls and unknown words, and tells of those', async () => {
    const result = await following(['drop', '{"status":"warming"}', 'missing', 'nonsense', done]);
    expect(result).toMatchObject({ type: 'succeeded', output: { text: 'late' } });
    expect(result.evidence.note).toContain('warming');
  });

  it('ends where the work failed, was canceled, is unknown, or takes too long', async () => {
    const failed = { type: 'failed', retryable: true };
    expect(
      await following(['{"status":"failed","error":{"message":"x","code":"content_policy"}}']),
    ).toMatchObject({ code: 'content_refused' });
    expect(await following(['{"status":"failed"}'])).toMatchObject({ ...failed, code: 'provider_malformed' });
    expect(await following(['{"status":"canceled"}'])).toMatchObject({
      ...failed,
      code: 'provider_unavailable',
    });
    expect(await following(['missing'])).toMatchObject({ ...failed, code: 'provider_unavailable' });
    expect(await following(['{"status":"processing"}'], 400)).toMatchObject({
      ...failed,
      code: 'provider_timeout',
    });
    expect(await following(['drop'], 400)).toMatchObject({ ...failed, code: 'provider_timeout' });
  });
});
