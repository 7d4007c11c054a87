// What this process dials, as Node itself tells it: no matter who asked for the connection, and whether it came about.
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';

export interface Dials {
  /** `address:port` of every attempt since the start, or since `clear`. */
  list: string[];
  clear(): void;
  stop(): void;
}

export function watchDials(): Dials {
  const list: string[] = [];
  const watch = (message: unknown): void => {
    const { socket } = message as { socket: Socket };
    socket.on('connectionAttempt', (address: string, port: number) => list.push(`${address}:${port}`));
  };
  subscribe('net.client.socket', watch);
  return {
    list,
    clear: () => void (list.length = 0),
    stop: () => void unsubscribe('net.client.socket', watch),
  };
}
