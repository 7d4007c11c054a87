import { describe, expect, it } from 'vitest';
import { ChatStream } from '../../../src/providers/openai/stream.ts';

interface Read {
  stream: ChatStream;
  deltas: string[];
  verdicts: string[];
}

function read(chunks: readonly (string | Buffer)[], choices = 1): Read {
  const deltas: string[] = [];
  const stream = new ChatStream(choices, (delta) => deltas.push(delta));
  const verdicts = chunks.map((chunk) => stream.push(Buffer.from(chunk)));
  return { stream, deltas, verdicts };
}

const sse = (...events: (object | string)[]): string =>
  events.map((event) => `data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`).join('');

const chunk = (delta: object | null, rest: object = {}, top: object = {}): object => ({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  created: 7,
  model: 'm',
  choices: [{ index: 0, delta, finish_reason: null, ...rest }],
  ...top,
});

const WORDS = sse(
  chunk({ role: 'assistant', content: '' }),
  chunk({ content: 'Grüß ' }),
  chunk({ content: 'dich 🌊' }),
  chunk({}, { finish_reason: 'stop' }),
  { ...chunk(null), choices: [], usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 } },
  '[DONE]',
);

const call = (index: number, rest: object) => ({ tool_calls: [{ index, ...rest }] });

const two = (a: object, b: object, finish: string | null = null) => ({
  choices: [
    { index: 1, delta: b, finish_reason: finish },
    { index: 0, delta: a, finish_reason: finish },
  ],
});

const usage = (completion_tokens: number) => ({ usage: { prompt_tokens: 1, completion_tokens } });

describe('a chat that streams in', () => {
  it('becomes a completion, wherever its bytes are cut', () => {
    const bytes = Buffer.from(WORDS);
    const whole = read([bytes]);
    expect(whole.stream.assembly.text).toBe('Grüß dich 🌊');
    expect(whole.deltas).toEqual([
      '{"role":"assistant","content":""}',
      '{"content":"Grüß "}',
      '{"content":"dich 🌊"}',
    ]);
    expect(JSON.parse(whole.stream.assembly.completion())).toEqual({
      id: 'chatcmpl-1',
      object: 'chat.completion',
      created: 7,
      model: 'm',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: 'Grüß dich 🌊' },
          logprobs: null,
          finish_reason: 'stop',
        },
      ],
      usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
    });
    for (let at = 1; at < bytes.length; at++) {
      const cut = read([bytes.subarray(0, at), bytes.subarray(at)]);
      expect(cut.deltas).toEqual(whole.deltas);
      expect(cut.stream.assembly.completion()).toBe(whole.stream.assembly.completion());
      expect(cut.stream.isComplete(false)).toBe(true);
    }
  });

  it('keeps tool calls, reasoning, refusals, log probabilities and fields that nobody knows', () => {
    const { stream } = read([
      sse(
        chunk(
          { role: 'assistant', content: null, reasoning_content: 'Let me ' },
          {},
          { system_fingerprint: 'fp_1' },
        ),
        chunk({ reasoning_content: 'think.', refusal: null }),
        chunk(call(0, { id: 'call_a', type: 'function', function: { name: 'grind', arguments: '' } })),
        chunk(call(1, { id: 'call_b', type: 'function', function: { name: 'sift', arguments: '{"x"' } })),
        chunk(call(0, { function: { arguments: '{"kg":' } })),
        chunk(call(0, { id: 'call_a', function: { arguments: '12}' } }), {
          logprobs: { content: [{ token: 'a', logprob: -0.5 }] },
        }),
        chunk(call(1, { function: { arguments: ':1}' } }), {
          logprobs: { content: [{ token: 'b', logprob: -1 }], refusal: null },
        }),
        chunk(
          { vendor_note: 'n1', parts: [{ kind: 'p' }] },
          {},
          { provider: 'Mill', service_tier: 'default' },
        ),
        chunk({ parts: [{ kind: 'q' }] }, { native_finish_reason: 'tool', finish_reason: 'tool_calls' }),
        '[DONE]',
      ),
    ]);
    expect(JSON.parse(stream.assembly.completion())).toEqual({
      id: 'chatcmpl-1',
      object: 'chat.completion',
      created: 7,
      model: 'm',
      system_fingerprint: 'fp_1',
      provider: 'Mill',
      service_tier: 'default',
      choices: [
        {
          index: 0,
          message: {
            role: 'assistant',
            content: null,
            reasoning_content: 'Let me think.',
            refusal: null,
            tool_calls: [
              { id: 'call_a', type: 'function', function: { name: 'grind', arguments: '{"kg":12}' } },
              { id: 'call_b', type: 'function', function: { name: 'sift', arguments: '{"x":1}' } },
            ],
            vendor_note: 'n1',
            parts: [{ kind: 'p' }, { kind: 'q' }],
          },
          logprobs: {
            content: [
              { token: 'a', logprob: -0.5 },
              { token: 'b', logprob: -1 },
            ],
            refusal: null,
          },
          native_finish_reason: 'tool',
          finish_reason: 'tool_calls',
        },
      ],
    });
  });

  it('hands deltas on to the letter, and keeps numbers that a double cannot hold', () => {
    const event =
      '{"id":"c","seed":12345678901234567890, "choices" : [ {"index":0, "delta" : { "content":"\\u0041", "big": 98765432109876543210 , "small":1.50 }, "finish_reason":"stop"} ]}';
    const { stream, deltas } = read([sse(event, '[DONE]')]);
    expect(deltas).toEqual(['{ "content":"\\u0041", "big": 98765432109876543210 , "small":1.50 }']);
    expect(stream.assembly.completion()).toContain('"seed":12345678901234567890');
    expect(stream.assembly.completion()).toContain('"big":98765432109876543210');
    expect(stream.assembly.text).toBe('A');
  });

  it('says whose a delta is when there are several choices', () => {
    const { stream, deltas } = read(
      [sse(two({ content: 'a' }, { content: 'b' }), two({ content: 'A' }, {}, 'stop'), '[DONE]')],
      2,
    );
    expect(deltas).toEqual([
      '{"index":1,"content":"b"}',
      '{"index":0,"content":"a"}',
      '{"index":0,"content":"A"}',
    ]);
    const { choices } = JSON.parse(stream.assembly.completion()) as {
      choices: { message: { content: string } }[];
    };
    expect(choices.map((choice) => choice.message.content)).toEqual(['aA', 'b']);
    expect(stream.assembly.text).toBe('aA');
  });

  it('keeps the last usage that was reported', () => {
    const { stream } = read([
      sse(
        chunk({ content: 'a' }, {}, usage(1)),
        chunk({ content: 'b' }, {}, usage(2)),
        chunk({}, {}, { usage: null }),
      ),
    ]);
    expect(stream.assembly.usage).toEqual({ prompt_tokens: 1, completion_tokens: 2 });
  });

  it('is complete with its last word, or when every choice has ended; not before', () => {
    const said = sse(chunk({ content: 'a' }));
    const ended = sse(chunk({}, { finish_reason: 'length' }));
    expect(read([said]).stream.isComplete(true)).toBe(false);
    expect(read([said, ended]).stream.isComplete(false)).toBe(true);
    expect(read([said, ended], 2).stream.isComplete(false)).toBe(false);
    expect(read([said, ended], 2).stream.isComplete(true)).toBe(true);
    expect(read([said, sse('[DONE]')]).stream.isComplete(false)).toBe(true);
    expect(read([sse('[DONE]')]).stream.isComplete(true)).toBe(false);
  });

  it.each([
    ['{"choices":[{"del', 'an event is not JSON'],
    ['["unexpected"]', 'an event is no chunk of a completion'],
    ['"text"', 'an event is no chunk of a completion'],
    ['{"choices":{"0":1}}', 'an event is no chunk of a completion'],
    ['{"choices":[{"index":0,"delta":"words"}]}', 'an event is no chunk of a completion'],
    ['{"choices":[null]}', 'an event is no chunk of a completion'],
    ['{"error":{"message":"no"}}', 'an error in a stream'],
  ])('is given up at %s', (event, what) => {
    const { stream, verdicts } = read([sse(chunk({ content: 'a' })), sse(event), sse('[DONE]')]);
    expect(verdicts[1]).toBe('enough');
    expect(stream.fault).toMatchObject({ kind: 'malformed', what });
    expect(stream.isComplete(true)).toBe(false);
    expect(stream.assembly.text).toBe('a');
  });

  it('is given up when it grows beyond 8 MiB, as a whole or in one event', () => {
    const piece = sse(chunk({ content: 'x'.repeat(1 << 20) }));
    const many = read(Array.from({ length: 9 }, () => piece));
    expect(many.stream.fault).toMatchObject({ kind: 'too_large' });
    expect(many.deltas).toHaveLength(7);
    const endless = read(Array.from({ length: 9 }, () => 'x'.repeat(1 << 20)));
    expect(endless.stream.fault).toMatchObject({ kind: 'too_large' });
  });

  it('takes no harm from names that objects have by themselves', () => {
    const { stream } = read([
      sse(
        '{"__proto__":{"polluted":1},"choices":[{"index":0,"delta":{"__proto__":{"polluted":1},"constructor":"c","content":"a"}}]}',
        '[DONE]',
      ),
    ]);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
    expect(stream.assembly.text).toBe('a');
  });
});
