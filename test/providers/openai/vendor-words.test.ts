import { describe, expect, it } from 'vitest';
import { answer, answered, KEY } from './bad-server.ts';

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
