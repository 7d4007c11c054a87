// The answer of a chat as it streams in: deltas are handed on to the letter, and put together on the way.
import { rawItems, rawMember } from '../../domain/json-members.ts';
import { Assembly } from './assemble.ts';
import { parseExact } from './exact-json.ts';
import { SseReader } from './sse.ts';

/** Most bytes of deltas, and most characters of one event that is not finished. */
const MOST_BYTES = 8 << 20;

/** Why a stream is of no use: an event that is not what it should be, and the event itself if it was JSON. */
export interface StreamFault {
  kind: 'malformed' | 'too_large';
  what: string;
  event: unknown;
}

export class ChatStream {
  readonly assembly = new Assembly();
  fault: StreamFault | null = null;
  /** `[DONE]` was read. */
  saidDone = false;
  readonly #reader = new SseReader((data, name) => this.#event(data, name));
  readonly #choices: number;
  readonly #onDelta: (delta: string) => void;
  #bytes = 0;

  /** `choices`: how many were asked for. */
  constructor(choices: number, onDelta: (delta: string) => void) {
    this.#choices = choices;
    this.#onDelta = onDelta;
  }

  push(chunk: Buffer): 'more' | 'whole' | 'enough' {
    this.#reader.push(chunk);
    if (this.#reader.pending > MOST_BYTES)
      this.fault ??= { kind: 'too_large', what: 'an event without an end', event: null };
    return this.fault ? 'enough' : this.saidDone ? 'whole' : 'more';
  }

  /**
   * Whether the answer is all there, whatever became of the connection since: paid work is not thrown away for want of a last
   * word. `clean`: the body came to its proper end.
   */
  isComplete(clean: boolean): boolean {
    const { begun, finished } = this.assembly;
    if (this.fault || begun === 0) return false;
    return this.saidDone || finished >= (clean ? begun : this.#choices);
  }

  #event(data: string, name: string): void {
    if (this.fault || this.saidDone) return;
    if (data === '[DONE]') {
      this.saidDone = true;
      return;
    }
    let chunk: unknown;
    try {
      chunk = parseExact(data);
    } catch {
      this.fault = { kind: 'malformed', what: 'an event is not JSON', event: null };
      return;
    }
    if (name === 'error' || Object.hasOwn(Object(chunk), 'error'))
      this.fault = { kind: 'malformed', what: 'an error in a stream', event: chunk };
    else if (!this.assembly.add(chunk))
      this.fault = { kind: 'malformed', what: 'an event is no chunk of a completion', event: chunk };
    else this.#handOn(data, chunk as Chunk);
  }

  #handOn(data: string, { choices }: Chunk): void {
    const texts = choices?.length === 1 ? [onlyDelta(data, choices[0])] : deltas(data, choices?.length ?? 0);
    texts.forEach((delta, i) => {
      if (delta === null || delta === '{}') return;
      this.#bytes += Buffer.byteLength(delta);
      if (this.#bytes > MOST_BYTES) this.fault ??= { kind: 'too_large', what: 'a long answer', event: null };
      else this.#onDelta(this.#numbered(delta, choices?.[i]?.index ?? 0));
    });
  }

  /** Where several choices were asked for, a delta says whose it is by an `index` of its own, put first. */
  #numbered(delta: string, index: number): string {
    return this.#choices > 1 || index > 0
      ? `{"index":${index},${delta.slice(delta.indexOf('{') + 1)}`
      : delta;
  }
}

interface Chunk {
  choices?: { index?: number; delta?: unknown }[];
}

/** The letters of the only delta. Written again it is mostly what it was, which is found much faster than by reading on. */
function onlyDelta(data: string, choice: { delta?: unknown } | undefined): string | null {
  if (!choice?.delta) return null;
  const again = JSON.stringify(choice.delta);
  return data.includes(`"delta":${again}`) ? again : (deltas(data, 1)[0] ?? null);
}

/** The letters of each choice's delta; null where there is none. */
function deltas(data: string, count: number): (string | null)[] {
  const choices = count > 0 ? rawMember(data, 'choices') : null;
  if (choices === null) return [];
  return rawItems(choices).map((choice) => {
    const delta = rawMember(choice, 'delta');
    return delta === 'null' ? null : delta;
  });
}
