import { describe, expect, it } from 'vitest';
import { SseReader } from '../../../src/providers/openai/sse.ts';

function eventsOf(chunks: Buffer[]): [string, string][] {
  const events: [string, string][] = [];
  const reader = new SseReader((data, name) => events.push([name, data]));
  for (const chunk of chunks) reader.push(chunk);
  return events;
}

const FIXTURES: { name: string; text: string; events: [string, string][] }[] = [
  {
    name: 'line feeds',
    text: 'data: {"a":1}\n\ndata: [DONE]\n\n',
    events: [
      ['message', '{"a":1}'],
      ['message', '[DONE]'],
    ],
  },
  {
    name: 'CRLF',
    text: 'data: one\r\n\r\ndata: two\r\n\r\n',
    events: [
      ['message', 'one'],
      ['message', 'two'],
    ],
  },
  {
    name: 'CR alone',
    text: 'data: one\r\rdata: two\r\r',
    events: [
      ['message', 'one'],
      ['message', 'two'],
    ],
  },
  {
    name: 'all line ends mixed',
    text: 'data: a\r\ndata: b\rdata: c\n\r\ndata: d\n\n',
    events: [
      ['message', 'a\nb\nc'],
      ['message', 'd'],
    ],
  },
  {
    name: 'several data lines',
    text: 'data: {\ndata: "x": 1\ndata: }\n\n',
    events: [['message', '{\n"x": 1\n}']],
  },
  {
    name: 'comments',
    text: ': hb\n\ndata: a\n: in the middle\ndata: b\n\n:\n',
    events: [['message', 'a\nb']],
  },
  {
    name: 'no space, two spaces',
    text: 'data:a\n\ndata:  b\n\n',
    events: [
      ['message', 'a'],
      ['message', ' b'],
    ],
  },
  {
    name: 'empty data',
    text: 'data\n\ndata:\n\nevent: x\n\n',
    events: [
      ['message', ''],
      ['message', ''],
    ],
  },
  {
    name: 'names, ids and retries',
    text: 'id: 7\nretry: 9\nevent: error\ndata: no\n\ndata: yes\n\n',
    events: [
      ['error', 'no'],
      ['message', 'yes'],
    ],
  },
  {
    name: 'letters of two to four bytes',
    text: 'data: é水🌊\u2028 end\n\n',
    events: [['message', 'é水🌊\u2028 end']],
  },
  {
    name: 'a byte order mark',
    text: '\ufeffdata: a\n\ndata: \ufeffb\n\n',
    events: [
      ['message', 'a'],
      ['message', '\ufeffb'],
    ],
  },
  { name: 'an event without its end', text: 'data: a\n\ndata: lost\n', events: [['message', 'a']] },
];

describe('server-sent events', () => {
  it.each(FIXTURES)('are read: $name', ({ text, events }) => {
    expect(eventsOf([Buffer.from(text)])).toEqual(events);
  });

  it.each(FIXTURES)('are the same, cut at every byte and into single bytes: $name', ({ text, events }) => {
    const bytes = Buffer.from(text);
    for (let at = 0; at <= bytes.length; at++) {
      expect(eventsOf([bytes.subarray(0, at), bytes.subarray(at)])).toEqual(events);
      expect(eventsOf([bytes.subarray(0, at), bytes.subarray(at, at + 1), bytes.subarray(at + 1)])).toEqual(
        events,
      );
    }
    expect(eventsOf(Array.from(bytes, (_, i) => bytes.subarray(i, i + 1)))).toEqual(events);
  });

  it('say how much is held of an event that has no end, in time that grows with its length', () => {
    const reader = new SseReader(() => {});
    const chunk = Buffer.alloc(64 << 10, 'x');
    for (let i = 0; i < 256; i++) reader.push(chunk);
    expect(reader.pending).toBe(16 << 20);
    reader.push(Buffer.from('\n'));
    expect(reader.pending).toBe(0); // a field that nobody knows
  });
});
