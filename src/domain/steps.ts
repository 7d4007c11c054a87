// Bytes that come in pieces, read in steps: each tells how far the next one is.

export class Steps {
  #rest: Buffer = Buffer.alloc(0);
  #skip = 0;
  readonly #read: (bytes: Buffer, at: number) => number;

  /** @param read answers how many bytes on from `at` it is to be called again; 0: not before more bytes have come */
  constructor(read: (bytes: Buffer, at: number) => number) {
    this.#read = read;
  }

  push(chunk: Buffer): void {
    const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    let at = 0;
    for (;;) {
      const step = Math.min(this.#skip, bytes.length - at);
      at += step;
      this.#skip -= step;
      const read = this.#skip > 0 ? 0 : this.#read(bytes, at);
      if (read === 0) break;
      this.#skip = read;
    }
    this.#rest = Buffer.from(bytes.subarray(at));
  }
}
