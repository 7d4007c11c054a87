// The simulator's state, and which calls are open on which sockets.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Kind } from '../../../domain/job.ts';
import { FaultCount } from './behaviour.ts';
import { CallLog, identityOf, keyOf, type Outcome, type SimCall } from './calls.ts';
import { Remotes } from './remote.ts';
import { Results } from './results.ts';

/** A call whose answer is not finished. */
export interface Live {
  call: SimCall;
  /** What we call the request ourselves. */
  id: string;
  key: string | null;
  response: ServerResponse;
  socket: Socket;
  /** What it waits for. */
  timer: NodeJS.Timeout | null;
}

export class Simulator {
  readonly log = new CallLog();
  readonly faults = new FaultCount();
  readonly results = new Results();
  readonly remotes = new Remotes();
  readonly #byKey = new Map<string, Live>();
  readonly #bySocket = new WeakMap<Socket, Set<Live>>();

  /** To be called once for each new connection. */
  watch(socket: Socket): void {
    const lives = new Set<Live>();
    this.#bySocket.set(socket, lives);
    const gone = (): void => {
      for (const live of lives) this.end(live, 'gone');
    };
    // 'end' comes as soon as the caller's side closes, long before 'close' if there is much left to write.
    socket.on('end', gone).on('error', gone).on('close', gone);
  }

  begin({ kind, id }: { kind: Kind; id: string }, request: IncomingMessage, response: ServerResponse): Live {
    const call = this.log.start(identityOf(request), kind);
    const live: Live = { call, id, key: keyOf(call), response, socket: request.socket, timer: null };
    this.#bySocket.get(request.socket)?.add(live);
    if (live.key !== null) this.#byKey.set(live.key, live);
    return live;
  }

  end(live: Live, outcome: Outcome): boolean {
    if (!this.log.end(live.call, outcome)) return false;
    if (live.timer) clearTimeout(live.timer);
    this.#bySocket.get(live.socket)?.delete(live);
    if (live.key !== null && this.#byKey.get(live.key) === live) this.#byKey.delete(live.key);
    return true;
  }

  /** The open call of that name. */
  find(key: string): Live | null {
    return this.#byKey.get(key) ?? null;
  }
}
