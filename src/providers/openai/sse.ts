// Server-sent events out of bytes that may be cut anywhere: inside a character, a line, an event.

/** Called with the `data` of each event, its lines joined by line feeds, and with its name (`message` if it has none). */
export type OnEvent = (data: string, name: string) => void;

const LF = 10;
const CR = 13;

export class SseReader {
  readonly #onEvent: OnEvent;
  /** The beginning of a line whose end has not come: whole chunks, joined only once it has. */
  #rest: Buffer[] = [];
  #restBytes = 0;
  #data: string[] = [];
  #name = '';
  #first = true;
  /** The last byte was CR, so that an LF that comes next ends no line of its own. */
  #afterCr = false;

  constructor(onEvent: OnEvent) {
    this.#onEvent = onEvent;
  }

  /** Bytes held of an event that is not finished. */
  get pending(): number {
    return this.#restBytes + this.#data.reduce((sum, line) => sum + line.length, 0);
  }

  push(chunk: Buffer): void {
    let start = 0;
    if (this.#afterCr && chunk[0] === LF) start = 1;
    if (chunk.length > 0) this.#afterCr = chunk[chunk.length - 1] === CR;
    // Lines end in bytes that are part of no other character, so whole lines can be decoded at once.
    const end = Math.max(chunk.lastIndexOf(LF), chunk.lastIndexOf(CR)) + 1;
    if (end <= start) return this.#keep(chunk, start);
    const text =
      this.#restBytes > 0
        ? Buffer.concat([...this.#rest, chunk.subarray(start, end)]).toString()
        : chunk.toString('utf8', start, end);
    this.#rest = [];
    this.#restBytes = 0;
    this.#lines(text);
    this.#keep(chunk, end);
  }

  #keep(chunk: Buffer, start: number): void {
    if (start >= chunk.length) return;
    this.#rest.push(chunk.subarray(start));
    this.#restBytes += chunk.length - start;
  }

  #lines(text: string): void {
    let at = 0;
    if (this.#first) {
      this.#first = false;
      if (text.charCodeAt(0) === 0xfeff) at = 1;
    }
    const hasCr = text.includes('\r');
    while (at < text.length) {
      const lf = text.indexOf('\n', at);
      const cr = hasCr ? text.indexOf('\r', at) : -1;
      const end = cr >= 0 && (lf < 0 || cr < lf) ? cr : lf;
      this.#line(text.slice(at, end));
      at = end === cr && lf === cr + 1 ? lf + 1 : end + 1;
    }
  }

  #line(line: string): void {
    if (line === '') return this.#dispatch();
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line.charCodeAt(colon + 1) === 32 ? colon + 2 : colon + 1);
    if (field === 'data') this.#data.push(value);
    else if (field === 'event') this.#name = value;
  }

  #dispatch(): void {
    const name = this.#name || 'message';
    this.#name = '';
    if (this.#data.length === 0) return;
    const data = this.#data.length === 1 ? this.#data[0]! : this.#data.join('\n');
    this.#data = [];
    this.#onEvent(data, name);
  }
}
