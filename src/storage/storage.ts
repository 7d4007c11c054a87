import type { Readable } from 'node:stream';

/** Where bytes live. Keys are made by us: letters, digits, `_`, `-` and `/`. */
export interface Storage {
  /** Writes the whole of it or nothing; a reader never sees half. Overwrites. */
  put(
    key: string,
    content: Buffer | Readable,
    limit?: { maxBytes: number },
  ): Promise<{ bytes: number; sha256: string }>;
  /** @throws StorageMissing if there is nothing under that key */
  open(key: string, range?: { start: number; end: number }): Promise<Readable>;
  read(key: string): Promise<Buffer>;
  remove(key: string): Promise<void>;
  /** Every key and its age in milliseconds. */
  list(): AsyncIterable<{ key: string; ageMs: number }>;
  /** What `put`s that died have left, which has no key. One that is written to is never as old as a day. */
  removeDrafts(olderThanMs: number): Promise<void>;
  /** What `setMark` has written there, or null. It is none of the keys. */
  mark(): Promise<string | null>;
  setMark(mark: string): Promise<void>;
  ping(): Promise<void>;
}

export class StorageMissing extends Error {
  constructor(key: string) {
    super(`nothing is stored under ${key}`);
    this.name = 'StorageMissing';
  }
}

export class StorageTooLarge extends Error {
  constructor(maxBytes: number) {
    super(`more than ${maxBytes} bytes`);
    this.name = 'StorageTooLarge';
  }
}
