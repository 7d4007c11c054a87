// Follows a stream as browsers do: comes back with the last id whenever it breaks off or ends, until it is told 204.
import { Agent, request } from 'undici';
import { setTimeout as sleep } from 'node:timers/promises';
import { type SseEvent, SseParser } from './sse.ts';

export interface Followed {
  /** Every event of every connection, in the order they came. */
  events: SseEvent[];
  connections: number;
}

export interface Following {
  /** Where to go, in turn. */
  urls: string[];
  key: string;
  /** Told of each event as it comes; true: that is enough. */
  onEvent?: (event: SseEvent, soFar: SseEvent[]) => boolean | void;
}

/** Comes back at once, and not after a second as browsers do. Throws on any status but 200 and 204. */
export async function followLikeBrowser({ urls, key, onEvent }: Following): Promise<Followed> {
  const events: SseEvent[] = [];
  let lastId: string | null = null;
  for (let connections = 1; ; connections++) {
    // A connection of its own each time.
    const dispatcher = new Agent();
    const resume: Record<string, string> = lastId === null ? {} : { 'last-event-id': lastId };
    const headers = { accept: 'text/event-stream', authorization: `Bearer ${key}`, ...resume };
    let refused: string | null = null;
    try {
      const response = await request(urls[connections % urls.length] as string, {
        headers,
        dispatcher,
        bodyTimeout: 0,
      });
      if (response.statusCode === 204) return { events, connections };
      if (response.statusCode !== 200)
        refused = `${response.statusCode} ${(await response.body.text()).slice(0, 300)}`;
      const parser = new SseParser();
      for await (const chunk of response.body.setEncoding('utf8')) {
        for (const event of parser.push(chunk as string)) {
          events.push(event);
          if (event.ownId) lastId = event.id;
          if (onEvent?.(event, events)) return { events, connections };
        }
      }
    } catch {
      // Cut.
    } finally {
      await dispatcher.destroy();
    }
    if (refused !== null) throw new Error(refused);
    await sleep(5);
  }
}
