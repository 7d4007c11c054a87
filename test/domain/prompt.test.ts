import { describe, expect, it } from 'vitest';
import { promptSize, spokenBytes } from '../../src/domain/prompt.ts';

const withParts = (...parts: string[]) => `{"messages":[{"role":"user","content":[${parts.join(',')}]}]}`;
const frame = promptSize(withParts()).textBytes;

describe('the size of a prompt', () => {
  it('is the bytes of what a model reads, as they were written', () => {
    const messages = '[ {"role":"user", "content":"\\u00e4 ä"} ]';
    const size = promptSize(
      `{"messages": ${messages} ,"temperature":0.5,"tools":[1],"response_format":{"a":1}}`,
    );
    expect(size).toEqual({
      textBytes: Buffer.byteLength(messages) + '[1]'.length + '{"a":1}'.length,
      attachments: 0,
    });
  });

  it('leaves out attachments, byte for byte', () => {
    const image = '{"type":"image_url", "image_url":{"url":"data:,x"}}';
    const text = '{"type":"text","text":"hi"}';
    expect(promptSize(withParts(image, text))).toEqual({
      textBytes: frame + text.length + 1,
      attachments: 1,
    });
  });

  it('takes off no more than was written, though a number may be longer when we write it', () => {
    // 1e20 has four bytes here and 21 in the words of JSON.stringify: enough of them would hide a whole prompt.
    const numbers = `{"type":"image_url","x":[${Array.from({ length: 50 }, () => '1e20').join(',')}]}`;
    const text = `{"type":"text","text":"${'x'.repeat(500)}"}`;
    expect(promptSize(withParts(numbers, text)).textBytes).toBe(frame + text.length + 1);
  });

  it('counts a part of no known type by the piece and by its bytes', () => {
    for (const part of [
      '{"type":"riddle","text":"what has teeth and grinds?"}',
      '{"text":"no type"}',
      '"bare"',
      '{"type":7}',
    ])
      expect(promptSize(withParts(part))).toEqual({
        textBytes: frame + Buffer.byteLength(part),
        attachments: 1,
      });
  });
});

describe('what was said', () => {
  it.each([
    [{ role: 'assistant', content: 'flour' }, 5],
    [{ content: 'Müller' }, 7],
    [{ content: '', reasoning_content: 'think' }, 5],
    [{ refusal: 'no' }, 2],
    [
      {
        tool_calls: [
          {
            index: 0,
            id: 'call_12345',
            type: 'function',
            function: { name: 'grind', arguments: '{"kg":2}' },
          },
        ],
      },
      13,
    ],
    [{ content: [{ type: 'text', text: 'abc' }] }, 3],
    [{ index: 1, content: null }, 0],
    [{ role: 'assistant' }, 0],
    [null, 0],
  ])('%j has %i bytes of output', (said, bytes) => expect(spokenBytes(said)).toBe(bytes));
});
