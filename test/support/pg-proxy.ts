// Stands between a process and its PostgreSQL and loses what it is told to: a COMMIT on its way, or the answer to one.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface PgProxy {
  /** The same database, through here. */
  url: string;
  /**
   * Loses the next COMMIT on a connection that has used the named statement since its last one, by cutting the connection:
   * `request` before the server sees it, `answer` once it has been done. Resolves when that has happened.
   */
  loseCommit(what: 'request' | 'answer', statement: string): Promise<void>;
  close(): Promise<void>;
}

interface Trap {
  what: 'request' | 'answer';
  statement: string;
  sprung(): void;
}

export async function startPgProxy(databaseUrl: string): Promise<PgProxy> {
  const target = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  let trap: Trap | null = null;

  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    let losing: Trap | null = null;
    const used = new Set<string>();
    const asked = new Messages(false);
    const answered = new Messages(true);
    client.on('data', (chunk) => {
      for (const message of asked.push(chunk)) {
        if (trap !== null && message.includes(`\0${trap.statement}\0`)) used.add(trap.statement);
        if (isCommit(message)) {
          if (trap !== null && used.has(trap.statement)) {
            losing = trap;
            trap = null;
            if (losing.what === 'request') return lose();
          }
          used.clear();
        }
        upstream.write(message);
      }
    });
    upstream.on('data', (chunk) => {
      // Statements travel one behind the other: the answers before that of the COMMIT still come through.
      for (const message of answered.push(chunk)) {
        if (losing !== null && isCommitted(message)) return lose();
        client.write(message);
      }
    });
    const lose = (): void => {
      client.destroy();
      upstream.destroy();
      losing?.sprung();
    };
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = new URL(databaseUrl);
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as AddressInfo).port);
  return {
    url: url.href,
    loseCommit: (what, statement) =>
      new Promise((sprung) => {
        trap = { what, statement, sprung };
      }),
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** A simple query with that one word. */
const isCommit = (message: Buffer): boolean =>
  message.toString('latin1', 5) === 'commit\0' && message[0] === 0x51;

/** The server's word that it is done. */
const isCommitted = (message: Buffer): boolean =>
  message[0] === 0x43 && message.toString('latin1', 5) === 'COMMIT\0';

/** Cuts a stream into its messages: a letter, a length, a body. What a client sends begins with one without a letter. */
class Messages {
  #rest = Buffer.alloc(0);
  #started: boolean;

  constructor(started: boolean) {
    this.#started = started;
  }

  *push(chunk: Buffer): Generator<Buffer> {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    for (;;) {
      const head = this.#started ? 1 : 0;
      if (this.#rest.length < head + 4) return;
      const length = head + this.#rest.readInt32BE(head);
      if (this.#rest.length < length) return;
      yield this.#rest.subarray(0, length);
      this.#rest = this.#rest.subarray(length);
      this.#started = true;
    }
  }
}
