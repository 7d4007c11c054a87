// The readers of bench/sockets.ts, in a process of their own: they open WebSockets, follow all events, and measure when
// each comes and whether any is missing. Told what to do, and asked for figures, by messages from their parent.
import { once } from 'node:events';
import { WebSocket } from 'ws';

export interface Orders {
  open?: { url: string; keys: string[]; each: number };
  /** Begins to measure. */
  begin?: true;
  /** How many of them take nothing more from now on. */
  stall?: number;
  /** Ends to measure, and answers Figures. */
  end?: true;
}

export interface Figures {
  open: number;
  frames: number;
  /** Events that were not followed by the next number. */
  gaps: number;
  p50_ms: number;
  p99_ms: number;
  max_ms: number;
  /** By account (its key's place): the number of the last event that each reader has heard, least and most. */
  apart: number;
}

const AT_ONCE = 50;
const TIMESTAMP = '"timestamp":"';
const SEQUENCE = '"sequence":';

interface Reader {
  ws: WebSocket;
  last: number;
  stalled: boolean;
}

const readers: Reader[] = [];
let latencies: number[] = [];
let measuring = false;
let frames = 0;
let gaps = 0;

async function open(url: string, key: string): Promise<void> {
  const ws = new WebSocket(url, 'millrace.v1', {
    headers: { authorization: `Bearer ${key}` },
    perMessageDeflate: false,
  });
  const reader: Reader = { ws, last: 0, stalled: false };
  const caughtUp = Promise.withResolvers<void>();
  ws.on('message', (data) => {
    const text = (data as Buffer).toString('latin1');
    if (text.startsWith('{"type":"event"')) return hear(reader, text);
    if (text.startsWith('{"type":"hello"'))
      ws.send('{"type":"subscribe","ref":"a","jobs":"all","after":"now"}');
    if (text.startsWith('{"type":"caught_up"')) caughtUp.resolve();
  });
  ws.on('close', (code) => {
    if (!reader.stalled) process.stderr.write(`a reader was closed: ${code}\n`);
  });
  await once(ws, 'open');
  await caughtUp.promise;
  readers.push(reader);
}

function hear(reader: Reader, text: string): void {
  frames += 1;
  const at = text.indexOf(SEQUENCE) + SEQUENCE.length;
  const sequence = Number.parseInt(text.slice(at, at + 16), 10);
  if (reader.last !== 0 && sequence !== reader.last + 1) gaps += 1;
  reader.last = sequence;
  if (!measuring) return;
  const from = text.indexOf(TIMESTAMP) + TIMESTAMP.length;
  latencies.push(Date.now() - Date.parse(text.slice(from, from + 24)));
}

function figures(each: number): Figures {
  latencies.sort((a, b) => a - b);
  const at = (share: number): number => latencies[Math.floor((latencies.length - 1) * share)] ?? -1;
  let apart = 0;
  for (let i = 0; i < readers.length; i += each) {
    const lasts = readers
      .slice(i, i + each)
      .filter(({ stalled }) => !stalled)
      .map(({ last }) => last);
    apart = Math.max(apart, Math.max(...lasts) - Math.min(...lasts));
  }
  const open = readers.filter(({ ws }) => ws.readyState === WebSocket.OPEN).length;
  return { open, frames, gaps, p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1), apart };
}

let size = 1;
process.on('message', (orders: Orders) => void obey(orders));

async function obey(orders: Orders): Promise<void> {
  if (orders.open) {
    const { url, keys, each } = orders.open;
    size = each;
    const wanted = keys.flatMap((key) => Array.from({ length: each }, () => key));
    // In order, so that those of one account stand together.
    for (let i = 0; i < wanted.length; i += AT_ONCE)
      await Promise.all(wanted.slice(i, i + AT_ONCE).map((key) => open(url, key)));
    process.send?.({ opened: readers.length });
  }
  if (orders.stall !== undefined)
    for (const reader of readers.slice(0, orders.stall)) {
      reader.stalled = true;
      reader.ws.pause();
    }
  if (orders.begin) [measuring, latencies, frames, gaps] = [true, [], 0, 0];
  if (orders.end) {
    measuring = false;
    process.send?.(figures(size));
  }
}
