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

/** Messages that nobody has taken yet; past so many the socket is closed, to go on by cursor once they are. */
const MOST_WAITING = 10_000;
/** The server says something at least every 25 s. */
const SILENT_MS = 60_000;

/** Opens, says `first`, and yields every message. @throws Closed when the socket closes, however it does */
export async function* converse(
  { WebSocket, url, signal }: { WebSocket: WebSocketClass; url: string; signal?: AbortSignal | undefined },
  first: Said,
): AsyncGenerator<Said> {
  const socket = new WebSocket(url, ['millrace.v1']);
  const waiting: Said[] = [];
  let closed: Closed | null = null;
  let wake: () => void = () => {};
  const end = (code: number, reason: string): void => {
    closed ??= new Closed(code, reason);
    wake();
  };
  const leave = (): void => socket.close(1000);
  signal?.addEventListener('abort', leave, { once: true });
  let silence = setTimeout(() => {}, 0);
  const listen = (): void => {
    clearTimeout(silence);
    silence = setTimeout(() => (end(1006, 'silence'), socket.close()), SILENT_MS);
  };
  listen();
  socket.addEventListener('open', () => socket.send(JSON.stringify(first)));
  socket.addEventListener('error', () => {});
  socket.addEventListener('close', ({ code, reason }) => end(code, reason));
  socket.addEventListener('message', ({ data }) => {
    listen();
    if (typeof data !== 'string' || closed) return;
    waiting.push(JSON.parse(data) as Said);
    if (waiting.length > MOST_WAITING) {
      end(1013, 'the listener is slow');
      socket.close(1000);
    }
    wake();
  });
  try {
    for (;;) {
      const next = waiting.shift();
      if (next) yield next;
      else if (closed) throw closed as Closed;
      else await new Promise<void>((resolve) => (wake = resolve));
      signal?.throwIfAborted();
    }
  } finally {
    clearTimeout(silence);
    signal?.removeEventListener('abort', leave);
    socket.close(1000);
  }
}
