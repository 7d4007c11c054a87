// One WebSocket of millrace.v1, as an async sequence of what it says.

/** As browsers and Node 22 have it; for Node 20 bring one, such as the package `ws`. */
export type WebSocketClass = new (url: string, protocols: string[]) => WebSocketLike;

export interface WebSocketLike {
  send(data: string): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: 'open' | 'error', listener: () => void): void;
  addEventListener(type: 'close', listener: (event: { code: number; reason: string }) => void): void;
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void;
}

export interface Said {
  type: string;
  [field: string]: unknown;
}

/** How a socket ended. */
export class Closed extends Error {
  override name = 'Closed';
  readonly code: number;

  constructor(code: number, reason: string) {
    super(`the socket was closed with ${code}${reason === '' ? '' : ` (${reason})`}`);
    this.code = code;
  }
}

/** What nobody has taken yet, in messages and characters; past either the socket is closed, to go on by cursor once they are. */
const MOST_WAITING = { messages: 10_000, characters: 16 * 1024 * 1024 };
/** The server's own heartbeats are not for us to see, so we ask for a sign of life ourselves; twice in vain is the end. */
const QUIET_MS = 25_000;
const PING = JSON.stringify({ type: 'ping', ref: 'ping' });

export interface Opening {
  WebSocket: WebSocketClass;
  url: string;
  signal?: AbortSignal | undefined;
  /** Between two pings. */
  quietMs?: number | undefined;
}

/** Opens, says `first`, and yields every message. @throws Closed when the socket closes, however it does; the signal's reason */
export async function* converse(
  { WebSocket, url, signal, quietMs = QUIET_MS }: Opening,
  first: Said,
): AsyncGenerator<Said> {
  signal?.throwIfAborted();
  const socket = new WebSocket(url, ['millrace.v1']);
  const waiting: { said: Said; size: number }[] = [];
  let size = 0;
  let closed: Closed | null = null;
  let wake: () => void = () => {};
  const end = (code: number, reason: string): void => {
    closed ??= new Closed(code, reason);
    wake();
  };
  /** Not to be waited for: a peer that has gone answers no close. */
  const leave = (code: number, reason: string): void => {
    end(code, reason);
    socket.close(1000);
  };
  const abort = (): void => leave(1000, 'aborted');
  signal?.addEventListener('abort', abort, { once: true });
  let open = false;
  let unheard = 0;
  const beat = setInterval(() => {
    if (unheard === 2) return leave(1006, 'silence');
    unheard += 1;
    if (open) socket.send(PING);
  }, quietMs);
  socket.addEventListener('open', () => {
    open = true;
    socket.send(JSON.stringify(first));
  });
  socket.addEventListener('error', () => {});
  socket.addEventListener('close', ({ code, reason }) => {
    open = false;
    end(code, reason);
  });
  socket.addEventListener('message', ({ data }) => {
    unheard = 0;
    if (typeof data !== 'string' || closed) return;
    const said = parsed(data);
    if (!said) return leave(1007, 'not understood');
    waiting.push({ said, size: data.length });
    size += data.length;
    if (waiting.length > MOST_WAITING.messages || size > MOST_WAITING.characters)
      leave(1013, 'the listener is slow');
    wake();
  });
  try {
    for (;;) {
      const next = waiting.shift();
      if (next) {
        size -= next.size;
        yield next.said;
      } else if (closed) throw closed as Closed;
      else await new Promise<void>((resolve) => (wake = resolve));
      signal?.throwIfAborted();
    }
  } finally {
    clearInterval(beat);
    signal?.removeEventListener('abort', abort);
    socket.close(1000);
  }
}

/** Null: whoever speaks there is not the platform. What a listener throws, nobody catches. */
function parsed(text: string): Said | null {
  try {
    return JSON.parse(text) as Said;
  } catch {
    return null;
  }
}
