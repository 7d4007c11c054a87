// One job, told in order over as many connections as that takes.
import { errorOf, MillraceError } from './errors.ts';
import { type JobMessage, TERMINAL } from './events.ts';
import { backOff, lasted, pause } from './pause.ts';
import { readMessages } from './sse.ts';

export interface StreamOptions {
  /** The `id` of the last message heard, to go on from there. */
  after?: string;
  signal?: AbortSignal;
  /** Instead of the key, for browsers: a ticket for this job. */
  ticket?: string;
}

export interface Channel {
  get(
    path: string,
    options: { accept: string; lastId: string | null; signal?: AbortSignal },
  ): Promise<Response>;
  /** So many breaks in a row, without a word in between, are borne. */
  tries: number;
}

/** Ends with the job. A connection that breaks is made anew and goes on where it broke: nothing is missed or repeated. */
export async function* streamJob(
  channel: Channel,
  jobId: string,
  { after, signal, ticket }: StreamOptions,
): AsyncGenerator<JobMessage> {
  const path = `/v1/jobs/${encodeURIComponent(jobId)}/events`;
  const where = ticket === undefined ? path : `${path}?ticket=${encodeURIComponent(ticket)}`;
  let lastId = after ?? null;
  for (let breaks = 0; ; breaks += 1) {
    const since = performance.now();
    try {
      const accept = 'text/event-stream';
      const response = await channel.get(where, { accept, lastId, ...(signal && { signal }) });
      if (response.status === 204) return;
      if (!response.ok) throw await errorOf(response);
      if (!response.body) throw new Error('the stream has no body');
      for await (const { id, event, data } of readMessages(response.body)) {
        breaks = 0;
        lastId = id ?? lastId;
        yield { id, type: event, data: JSON.parse(data) as Record<string, unknown> };
        if (TERMINAL.has(event)) return;
      }
    } catch (error) {
      signal?.throwIfAborted();
      const final = error instanceof MillraceError && !error.retryable;
      if (final || (breaks >= channel.tries && !lasted(since))) throw error;
    }
    if (lasted(since)) breaks = 0;
    if (breaks >= channel.tries)
      throw new Error(`The stream of ${jobId} broke off ${breaks} times in a row.`);
    await pause(backOff(breaks), signal);
  }
}
