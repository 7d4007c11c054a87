// Speech that comes in events: pieces of sound in base64, then what they cost.
import type { Sink } from '../exchange.ts';
import { SseReader } from './sse.ts';

export class SpeechStream implements Sink {
  /** The last event came. */
  done = false;
  /** As the vendor reports it. */
  usage: unknown = null;
  /** Why no more was read, with the event that was it. */
  fault: { what: string; event: unknown } | null = null;
  readonly #reader = new SseReader((data) => this.#take(data));
  readonly #pieces: Buffer[] = [];
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  push(chunk: Buffer): 'more' | 'whole' | 'enough' {
    this.#reader.push(chunk);
    if (this.fault) return 'enough';
    return this.done ? 'whole' : 'more';
  }

  sound(): Buffer {
    return Buffer.concat(this.#pieces);
  }

  #take(data: string): void {
    if (this.fault || this.done || data === '[DONE]') return;
    let event: unknown;
    try {
      event = JSON.parse(data);
    } catch {
      this.fault = { what: 'an event that is no JSON', event: undefined };
      return;
    }
    const { type, audio, usage, error } = Object(event) as Record<string, unknown>;
    if (type === 'speech.audio.delta' && typeof audio === 'string') this.#add(Buffer.from(audio, 'base64'));
    else if (type === 'speech.audio.done') {
      this.done = true;
      this.usage = usage;
    } else if (type === 'error' || error) this.fault = { what: 'an error in the stream', event };
  }

  #add(piece: Buffer): void {
    this.#bytes += piece.length;
    if (this.#bytes > this.#maxBytes) this.fault = { what: 'too_large', event: undefined };
    else this.#pieces.push(piece);
  }
}
