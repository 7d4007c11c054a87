// Which keys an object has had so far. Building a Set of strings for every object costs more than parsing the body,
// and most objects have a handful of short keys: those are compared where they lie, and a Set is made for the others.

const FEW = 16;
const SHORT = 64;
const PROTO = Buffer.from('__proto__');
/** The longest way to write it: every character as \uXXXX. */
const PROTO_ESCAPED = PROTO.length * 6;

/** A key as it lies in the body, without its quotes. */
export interface Key {
  from: number;
  to: number;
  /** Whether it holds escapes, so that its bytes are not its name. */
  escaped: boolean;
}

/** The keys of all open objects. Objects nest, so their keys make one stack, cut back when an object ends. */
export class OpenKeys {
  readonly #bytes: Buffer;
  readonly #from: number[] = [];
  readonly #to: number[] = [];
  #top = 0;
  /** By depth: where the object's keys begin in the stack, and its Set once it has one. */
  readonly #base: number[] = [];
  readonly #sets: (Set<string> | null)[] = [];

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  open(depth: number): void {
    this.#base[depth] = this.#top;
  }

  close(depth: number): void {
    this.#top = this.#base[depth]!;
    this.#sets[depth] = null;
  }

  /** False if the object that is open at `depth` has had this key. */
  add(depth: number, key: Key): boolean {
    const set = this.#sets[depth] ?? this.#widen(depth, key);
    if (set !== null) return set.size < set.add(this.name(key)).size;
    const { from, to } = key;
    const length = to - from;
    for (let i = this.#base[depth]!; i < this.#top; i++) {
      const other = this.#from[i]!;
      if (length === this.#to[i]! - other && this.#same(other, from, length)) return false;
    }
    this.#from[this.#top] = from;
    this.#to[this.#top++] = to;
    return true;
  }

  /** The object's keys as a Set, if `key` makes them too many or too long to be compared one by one. */
  #widen(depth: number, key: Key): Set<string> | null {
    const base = this.#base[depth]!;
    if (!key.escaped && key.to - key.from <= SHORT && this.#top - base < FEW) return null;
    const set = new Set<string>();
    for (let i = base; i < this.#top; i++)
      set.add(this.#bytes.toString('utf8', this.#from[i]!, this.#to[i]!));
    this.#sets[depth] = set;
    return set;
  }

  #same(one: number, other: number, length: number): boolean {
    const bytes = this.#bytes;
    for (let i = 0; i < length; i++) if (bytes[one + i] !== bytes[other + i]) return false;
    return true;
  }

  name(key: Key): string {
    const raw = this.#bytes.toString('utf8', key.from, key.to);
    return key.escaped ? (JSON.parse(`"${raw}"`) as string) : raw;
  }

  /** Assigning it would change what an object inherits, in every careless merge after us. */
  isProto(key: Key): boolean {
    const length = key.to - key.from;
    if (length < PROTO.length || length > PROTO_ESCAPED) return false;
    if (key.escaped) return this.name(key) === '__proto__';
    return length === PROTO.length && PROTO.compare(this.#bytes, key.from, key.to) === 0;
  }
}
