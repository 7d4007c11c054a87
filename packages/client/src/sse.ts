// Server-sent events, from text that comes in pieces of any size.

export interface Message {
  /** Where to go on from after it; null for a note that is not kept. */
  id: string | null;
  event: string;
  data: string;
}

/** The server says at least something more often than that: it is gone, or whatever is between. */
const SILENT_MS = 90_000;

/** Ends with the body, and with a silence. */
export async function* readMessages(
  body: ReadableStream<Uint8Array>,
  silentMs = SILENT_MS,
): AsyncGenerator<Message> {
  const reader = body.getReader();
  const read = async () => {
    const silence = setTimeout(() => void reader.cancel().catch(() => {}), silentMs);
    return reader.read().finally(() => clearTimeout(silence));
  };
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      const blocks = rest.split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const message = parse(block);
        if (message) yield message;
      }
    }
  } finally {
    // Whoever stops listening lets go of the connection.
    await reader.cancel().catch(() => {});
  }
}

/** Null: a heartbeat, or anything else without data. */
function parse(block: string): Message | null {
  const message: Message = { id: null, event: 'message', data: '' };
  let has = false;
  for (const line of block.split('\n')) {
    const at = line.indexOf(':');
    const name = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? '' : line.slice(at + 1).replace(/^ /, '');
    if (name === 'data') {
      message.data = has ? `${message.data}\n${value}` : value;
      has = true;
    } else if (name === 'id') message.id = value;
    else if (name === 'event') message.event = value;
  }
  return has ? message : null;
}
