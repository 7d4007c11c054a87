import { describe, expect, it } from 'vitest';
import { chat, type Completion, json, sim } from './client.ts';

const say = async (content: string) =>
  (await json<Completion>(chat({ messages: [{ role: 'user', content }] }))).choices[0]!.message.content;

describe('chat', () => {
  it('says the same to the same prompt, and something else to another', async () => {
    expect(await say('one')).toBe(await say('one'));
    expect(await say('one')).not.toBe(await say('two'));
    const words = (await say('How is bread made?')).split(' ').length;
    expect(words).toBeGreaterThanOrEqual(10);
    expect(words).toBeLessThanOrEqual(60);
  });

  it.each(['max_tokens', 'max_completion_tokens'])(
    'stays within %s, and says that it was cut',
    async (name) => {
      const { choices, usage } = await json<Completion>(chat({ [name]: 3, n: 2 }));
      expect(choices.map((choice) => choice.finish_reason)).toEqual(['length', 'length']);
      expect(usage.completion_tokens).toBe(6);
      expect(choices[0]!.message.content.split(' ')).toHaveLength(3);
    },
  );

  it.each([
    [[{ role: 'user', content: '' }]],
    [[{ role: 'user', content: 'é水🌊'.repeat(100) }]],
    [[{ role: 'a', content: [{ type: 'text', text: 'part' }] }, { role: 'user' }, {}]],
    [Array.from({ length: 50 }, () => ({ content: 'x' }))],
  ])('counts no more prompt tokens than the messages have bytes', async (messages) => {
    const { usage } = await json<Completion>(chat({ messages }));
    expect(usage.prompt_tokens).toBeLessThanOrEqual(Buffer.byteLength(JSON.stringify(messages)));
    expect(usage.total_tokens).toBe(usage.prompt_tokens + usage.completion_tokens);
  });

  it('streams the same words, a word an event where there is time to see it', async () => {
    const whole = await json<Completion>(chat({}));
    const text = await (
      await chat({ stream: true, stream_options: { include_usage: true }, sim: { latency_ms: 60 } })
    ).text();
    const events = text
      .split('\n\n')
      .slice(0, -1)
      .map((event) => event.slice('data: '.length));
    expect(events.pop()).toBe('[DONE]');
    const chunks = events.map(
      (event) =>
        JSON.parse(event) as {
          choices: { delta: { content?: string }; finish_reason: string | null }[];
          usage: unknown;
        },
    );
    const last = chunks.pop()!;
    expect(last).toMatchObject({ choices: [], usage: whole.usage });
    expect(chunks.every((chunk) => chunk.usage === null)).toBe(true);
    const words = chunks.map((chunk) => chunk.choices[0]!.delta.content).filter((word) => word);
    expect(words.join('')).toBe(whole.choices[0]!.message.content);
    expect(words).toHaveLength(whole.usage.completion_tokens);
    expect(chunks.at(-1)!.choices[0]!.finish_reason).toBe('stop');
    expect(await (await chat({ stream: true })).text()).not.toContain('usage');
  });

  it('takes its time, and spreads a stream over it', async () => {
    const began = performance.now();
    const reader = (await chat({ stream: true, sim: { latency_ms: 300 } })).body!.getReader();
    const times: number[] = [];
    while (!(await reader.read()).done) times.push(performance.now() - began);
    expect(times.length).toBeGreaterThan(5);
    expect(times.at(-1)).toBeGreaterThanOrEqual(295);
    expect(times.at(-1)! - times[0]!).toBeGreaterThan(100);
  });

  it.each([
    [{ messages: [] }, 'messages'],
    [{ messages: 'x' }, 'messages'],
    [{ max_tokens: 0 }, 'max_tokens'],
    [{ n: 99 }, 'n must'],
    [{ sim: { fault: 'nonsense' } }, 'sim.fault'],
    [{ sim: { latency: 5 } }, 'latency'],
    [{ sim: { latency_ms: -1 } }, 'latency_ms'],
    [{ sim: { times: 1.5 } }, 'times'],
    [{ sim: [] }, 'sim must'],
  ])('refuses %j', async (body, named) => {
    const response = await chat(body);
    expect(response.status).toBe(400);
    expect(((await response.json()) as { error: { message: string } }).error.message).toContain(named);
  });

  it('refuses what is no JSON', async () => {
    const response = await fetch(`${sim.url}/v1/chat/completions`, { method: 'POST', body: '{"messages":' });
    expect([response.status, ((await response.json()) as { error: { code: string } }).error.code]).toEqual([
      400,
      'invalid_json',
    ]);
  });
});
