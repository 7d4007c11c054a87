// A chat.completion out of the chunks of a stream. Fields that nobody here knows are kept: of the chunk and of a choice the
// last value counts; in a message, and in logprobs, texts grow and lists are joined.
import { isContainer } from './exact-json.ts';

type Fields = Record<string, unknown>;

/** Texts that name something and come whole: the first that is not empty counts. All other texts come in pieces. */
const NAMES = new Set(['role', 'id', 'type', 'name', 'index', 'format', 'signature_type']);

interface Choice {
  index: number;
  message: Fields;
  finish: unknown;
  logprobs: Fields | null;
  /** Whatever else the choice said. */
  rest: Fields;
}

export class Assembly {
  readonly #choices = new Map<number, Choice>();
  #top: Fields = {};
  /** The last usage that a chunk reported. */
  usage: unknown = null;

  /** Takes one chunk in. False if it is none. */
  add(chunk: unknown): boolean {
    if (!isFields(chunk)) return false;
    const { choices = [], usage, object: _, ...top } = chunk;
    if (!Array.isArray(choices)) return false;
    Object.assign(this.#top, top);
    if (usage !== null && usage !== undefined) this.usage = usage;
    return choices.every((choice) => this.#addChoice(choice));
  }

  #addChoice(from: unknown): boolean {
    if (!isFields(from)) return false;
    const { index = 0, delta, finish_reason: finish, logprobs, ...rest } = from;
    if (!Number.isSafeInteger(index) || (delta !== undefined && delta !== null && !isFields(delta)))
      return false;
    let choice = this.#choices.get(index as number);
    if (!choice) {
      choice = {
        index: index as number,
        message: { role: 'assistant', content: null },
        finish: null,
        logprobs: null,
        rest: {},
      };
      this.#choices.set(choice.index, choice);
    }
    if (delta) merge(choice.message, delta as Fields);
    if (finish !== null && finish !== undefined) choice.finish = finish;
    if (isFields(logprobs)) merge((choice.logprobs ??= {}), logprobs);
    for (const [name, value] of Object.entries(rest)) if (value !== null) choice.rest[name] = value;
    return true;
  }

  /** How many choices have said why they ended. */
  get finished(): number {
    let count = 0;
    for (const { finish } of this.#choices.values()) if (finish !== null) count++;
    return count;
  }

  /** How many choices have begun. */
  get begun(): number {
    return this.#choices.size;
  }

  /** The content of the first choice. */
  get text(): string {
    const content = this.#choices.get(0)?.message.content;
    return typeof content === 'string' ? content : '';
  }

  /** JSON text of the chat.completion. */
  completion(): string {
    const choices = [...this.#choices.values()]
      .toSorted((a, b) => a.index - b.index)
      .map(({ index, message, logprobs, finish, rest }) =>
        Object.assign({ index, message: whole(message), logprobs }, rest, { finish_reason: finish }),
      );
    const { id, ...top } = this.#top;
    return JSON.stringify({ id, object: 'chat.completion', ...top, choices, usage: this.usage ?? undefined });
  }
}

/** In a stream a tool call says which one it continues; in a completion its place says so. */
function whole(message: Fields): Fields {
  const { tool_calls: calls } = message;
  if (!Array.isArray(calls)) return message;
  return {
    ...message,
    tool_calls: calls.map((call: unknown) =>
      isFields(call) ? Object.assign({}, call, { index: undefined }) : call,
    ),
  };
}

const isFields = (value: unknown): value is Fields => isContainer(value) && !Array.isArray(value);

function merge(into: Fields, from: Fields): void {
  for (const [name, value] of Object.entries(from)) {
    const now = Object.hasOwn(into, name) ? into[name] : undefined;
    into[name] = now === undefined || now === null ? started(value) : joined(name, now, value);
  }
}

/** A first value. Lists are merged with nothing, so that pieces of one element within the first chunk find each other. */
const started = (value: unknown): unknown => (Array.isArray(value) ? joinedLists([], value) : value);

function joined(name: string, now: unknown, value: unknown): unknown {
  if (value === null) return now;
  if (typeof now === 'string' && typeof value === 'string')
    return NAMES.has(name) ? now || value : now + value;
  if (Array.isArray(now) && Array.isArray(value)) return joinedLists(now, value);
  if (isFields(now) && isFields(value)) {
    merge(now, value);
    return now;
  }
  return value;
}

/** Elements that carry an `index` (tool calls) are pieces of the element with that index; others are added. */
function joinedLists(now: unknown[], values: unknown[]): unknown[] {
  for (const value of values) {
    const index = isFields(value) ? value.index : undefined;
    const same = Number.isSafeInteger(index)
      ? now.find((element) => isFields(element) && element.index === index)
      : undefined;
    if (same) merge(same as Fields, value as Fields);
    else now.push(value);
  }
  return now;
}
