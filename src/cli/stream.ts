// An account's events as the API streams them, for ever: a connection that ends is made again where it ended.
import type { ReadableStream } from 'node:stream/web';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Access } from './access.ts';

export interface Told {
  /** The cursor after it. */
  id: string;
  type: string;
  /** JSON text. */
  data: string;
}

/** No account has come so far: the stream then begins with a `reset`, which tells how far it has. */
const AHEAD = '999999999999999999';
const PAUSE_MS = 1_000;

export interface StreamOptions extends Access {
  /** The number of the last event heard; null: none but new ones. */
  after: string | null;
  /** Told of what went wrong on the way, and when it works again. */
  trouble(what: string | null): void;
  signal: AbortSignal;
}

/** @throws Error if the API refuses the key, or whatever else it will refuse again */
export async function* eventsOf({ url, key, after, trouble, signal }: StreamOptions): AsyncGenerator<Told> {
  let cursor = after ?? AHEAD;
  while (!signal.aborted) {
    try {
      const response = await fetch(`${url}/v1/events`, {
        headers: { authorization: `Bearer ${key}`, accept: 'text/event-stream', 'last-event-id': cursor },
        signal,
      });
      if (response.status >= 400 && response.status < 500 && response.status !== 429)
        throw await refusal(response);
      if (response.ok && response.body) {
        // Without a cursor it is only the reset that says from where on nothing is missed.
        if (cursor !== AHEAD) trouble(null);
        for await (const told of read(response.body as ReadableStream<Uint8Array>)) {
          const began = cursor === AHEAD;
          cursor = told.id;
          if (told.type === 'reset') {
            if (began) trouble(null);
            else trouble(`some events are not kept any more; it goes on after ${cursor}`);
          } else yield told;
        }
      } else trouble(`the API answers ${response.status}`);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused) throw error;
      trouble(`the API cannot be reached (${reason(error)})`);
    }
    await sleep(PAUSE_MS, undefined, { signal }).catch(() => {});
  }
}

class Refused extends Error {}

async function refusal(response: Response): Promise<Refused> {
  const { message } = (await response.json().catch(() => ({}))) as { message?: string };
  return new Refused(`The API refuses: ${response.status} ${message ?? ''}`);
}

const reason = (error: unknown): string => {
  const { cause, message } = error as { cause?: { code?: string }; message: string };
  return cause?.code ?? message;
};

/** Server-sent events, as far as our own API uses them: one line of data each. */
async function* read(body: ReadableStream<Uint8Array>): AsyncGenerator<Told> {
  let told: Partial<Told> = {};
  for await (const line of linesOf(body)) {
    const [, name, value = ''] = /^(id|event|data): ?(.*)$/s.exec(line) ?? [];
    if (name === 'id') told.id = value;
    if (name === 'event') told.type = value;
    if (name === 'data') told.data = value;
    if (line !== '') continue;
    if (told.id !== undefined && told.data !== undefined) yield { type: 'message', ...told } as Told;
    told = {};
  }
}

/** Not by node:readline, for which U+2028, which JSON may hold as it is, ends a line too. */
async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let parts: string[] = [];
  for await (const bytes of body) {
    const [first = '', ...rest] = decoder.decode(bytes, { stream: true }).split('\n');
    parts.push(first);
    for (const next of rest) {
      yield parts.join('');
      parts = [next];
    }
  }
}
