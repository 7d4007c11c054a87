// Server-sent events as the standard says, for reading what Millrace sends.
import { request } from 'undici';

export interface SseEvent {
  /** The last id seen, on this event or before it. */
  id: string | null;
  /** Whether this event named the id itself. */
  ownId: boolean;
  event: string;
  data: string;
}

/** Ends with the stream. A 204 gives no events. Throws on any other status. */
export async function* readEvents(url: string, headers: Record<string, string>): AsyncGenerator<SseEvent> {
  const abort = new AbortController();
  const response = await request(url, {
    headers: { accept: 'text/event-stream', ...headers },
    signal: abort.signal,
    bodyTimeout: 0,
  });
  try {
    if (response.statusCode === 204) return;
    if (response.statusCode !== 200) throw new Error(`${response.statusCode} ${await response.body.text()}`);
    const parser = new SseParser();
    for await (const chunk of response.body.setEncoding('utf8')) yield* parser.push(chunk as string);
  } finally {
    response.body.on('error', () => {});
    abort.abort();
  }
}

/** Feed it text in pieces of any size. */
export class SseParser {
  #rest = '';
  #id: string | null = null;
  #ownId = false;
  #event = '';
  #data: string[] = [];

  *push(text: string): Generator<SseEvent> {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        if (this.#data.length > 0) {
          yield {
            id: this.#id,
            ownId: this.#ownId,
            event: this.#event || 'message',
            data: this.#data.join('\n'),
          };
        }
        this.#event = '';
        this.#data = [];
        this.#ownId = false;
      } else {
        this.#field(line);
      }
    }
  }

  #field(line: string): void {
    const at = line.indexOf(':');
    if (at === 0) return;
    const name = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? '' : line.slice(at + 1).replace(/^ /, '');
    if (name === 'data') this.#data.push(value);
    if (name === 'event') this.#event = value;
    if (name === 'id') {
      this.#id = value;
      this.#ownId = true;
    }
  }
}
