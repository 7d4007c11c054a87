// What the gate costs beside JSON.parse of the same bytes: `node bench/json-gate.ts`. The best of seven alternating
// rounds, because the neighbours on a shared machine only ever add.
import { checkJson } from '../src/domain/json-gate.ts';
import { rewriteObject } from '../src/domain/json-members.ts';

const LIMITS = { maxDepth: 64, maxKeys: 10_000 };
const MIB = 1024 * 1024;

function chat(contents: string[]): Buffer {
  const messages = contents.map((content, i) => ({ role: i % 2 === 0 ? 'user' : 'assistant', content }));
  const input = { messages, temperature: 0.7, max_tokens: 256, stream: true };
  return Buffer.from(
    JSON.stringify({ model: 'sim/chat', max_credits: 6000, metadata: { order: 'A-1' }, input }),
  );
}

const sentence = 'A millrace is the channel that leads water to the wheel of a "mill".\n';
const bodies: Record<string, Buffer> = {
  'chat, 500 bytes': chat([sentence, sentence + sentence, 'And the queue?', 'It drives the workers.']),
  'chat, 2,000 bytes': chat(Array.from({ length: 20 }, () => sentence)),
  'one image as base64, 4 MiB': chat(['iVBORw0KGgo='.repeat((4 * MIB) / 12)]),
  'messages, 4 MiB': chat(Array.from({ length: 40 }, () => sentence.repeat((4 * MIB) / 40 / 72))),
  'Chinese, 4 MiB': chat(Array.from({ length: 400 }, () => '水車が水路の水で回る。'.repeat(310))),
  'numbers, 4 MiB': Buffer.from(JSON.stringify(Array.from({ length: 520_000 }, (_, i) => i + 0.5))),
  'empty objects, 4 MiB': Buffer.from(`[${'{},'.repeat(1_390_000)}{}]`),
  '1e308 over and over, 4 MiB': Buffer.from(`[${'1e308,'.repeat(690_000)}0]`),
  '100,000 deep': Buffer.from('['.repeat(100_000) + ']'.repeat(100_000)),
};

const calls: [name: string, call: (body: Buffer) => unknown][] = [
  ['checkJson', (body) => checkJson(body, LIMITS)],
  ['toString + JSON.parse', (body) => JSON.parse(body.toString())],
  [
    'toString + rewriteObject',
    (body) => rewriteObject(body.toString(), { model: '"upstream"', stream: null, n: '1' }),
  ],
];

function nanoseconds(call: () => unknown, times: number): number {
  const start = process.hrtime.bigint();
  for (let i = 0; i < times; i++) call();
  return Number(process.hrtime.bigint() - start) / times;
}

for (const [title, body] of Object.entries(bodies)) {
  const times = Math.ceil((10 * MIB) / body.length);
  const isObject = body[0] === '{'.charCodeAt(0);
  const best = new Map<string, number>();
  for (let round = 0; round < 9; round++) {
    for (const [name, call] of isObject ? calls : calls.slice(0, 2)) {
      const taken = nanoseconds(() => call(body), times);
      // The first two rounds warm up.
      if (round > 1) best.set(name, Math.min(taken, best.get(name) ?? Infinity));
    }
  }
  const shown = Array.from(best, ([name, taken]) => `${name} ${Math.round(taken).toLocaleString('en')} ns`);
  console.log(`${title} (${body.length} bytes): ${shown.join(', ')}`);
}
