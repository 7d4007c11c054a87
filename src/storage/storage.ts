import type { Readable } from 'node:stream';

/** Where bytes live. Keys are made by us: letters, digits, `_`, `-` and `/`. */
export interface Storage {
  /** Where that is, in words for an operator. */
  readonly place: string;
  /** Writes the whole of it or nothing; a reader never sees half. Overwrites, and is then as young as if it were new. */
  put(key: string, content: Content, limit?: Limit): Promise<Written>;
  /** Reads content to its end before it has a place, so that its hash can be its name, or that it can be refused. */
  stage(content: Content, limit?: Limit): Promise<Staged>;
  /** @throws StorageMissing if there is nothing under that key */
  open(key: string, range?: { start: number; end: number }): Promise<Readable>;
  read(key: string): Promise<Buffer>;
  remove(key: string): Promise<void>;
  /** Milliseconds since it was last put; null: there is none. */
  age(key: string): Promise<number | null>;
  /** Every key and its age in milliseconds. */
  list(): AsyncIterable<{ key: string; ageMs: number }>;
  /** What `put`s that died have left, which has no key. One that is written to is never as old as a day. */
  removeDrafts(olderThanMs: number): Promise<void>;
  /** A URL that needs no key of ours and gives the bytes as an attachment; null: clients cannot reach this storage. */
  linkOut(key: string, link: LinkOut): Promise<string | null>;
  /** A URL that takes a PUT of just so many bytes of that type; null likewise. */
  linkIn(key: string, link: LinkIn): Promise<string | null>;
  /** What `setMark` has written there, or null. It is none of the keys. */
  mark(): Promise<string | null>;
  setMark(mark: string): Promise<void>;
  /** @throws StorageDown with what an operator can do about it */
  ping(): Promise<void>;
  close(): void;
}

export type Content = Buffer | Readable;

export interface Limit {
  maxBytes: number;
}

export interface Written {
  bytes: number;
  sha256: string;
}

/** Content that nobody can see yet: to be kept or dropped, or it goes when this process does, or with old drafts. */
export interface Staged extends Written {
  /** Its first bytes: so many, or all there are. */
  head(bytes: number): Promise<Buffer>;
  /** All of it, as often as it is asked for, until it is kept or dropped. */
  content(): Readable;
  /** Puts it under `<owner>/<sha256>` and answers that key. Equal bytes of one owner are there once, as old as the latest. */
  keep(owner: string): Promise<string>;
  drop(): Promise<void>;
}

export interface LinkOut {
  contentType: string;
  filename: string;
  expiresInS: number;
}

export interface LinkIn {
  contentType: string;
  bytes: number;
  expiresInS: number;
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

/** The storage itself cannot be used at present. The message says why, and what to do; it is for operators. */
export class StorageDown extends Error {
  constructor(message: string, cause: unknown) {
    super(message, { cause });
    this.name = 'StorageDown';
  }
}

/** @throws Error for what is no key of ours, so that no path and no prefix is ever left */
export function assertKey(key: string): void {
  if (!/^[A-Za-z0-9_-]+(\/[A-Za-z0-9_-]+)*$/.test(key)) throw new Error('not a storage key');
}
