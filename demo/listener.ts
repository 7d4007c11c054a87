// What the account is told over one WebSocket, job by job: its events, and what chats say as they say it. The socket is
// the SDK's, which makes it anew when it breaks and goes on where it broke.
import { type Client, type Heard, type MillraceEvent, TERMINAL } from '../packages/client/src/index.ts';

/** What is told of one job. `reset`: what it said is taken back. */
export type Told =
  | { type: 'event'; event: MillraceEvent }
  | { type: 'words'; words: string }
  | { type: 'reset' };

export interface Listener {
  /** What is told of a job, from its first event to its last. */
  follow(jobId: string): AsyncGenerator<Told>;
  close(): void;
}

/** @param signal ends it, and who follows gets its reason */
export function openListener(client: Client, signal: AbortSignal): Listener {
  const closing = new AbortController();
  const told = new Map<string, Told[]>();
  let failure: Error | null = null;
  let wake = (): void => {};
  const listen = async (): Promise<void> => {
    // From the start, since the account is the demo's own: it has no events that are not looked for here.
    const options = {
      after: 'start',
      deltas: true,
      signal: AbortSignal.any([signal, closing.signal]),
    } as const;
    for await (const heard of client.subscribe(options)) {
      const about = read(heard);
      if (!about) continue;
      told.set(about.jobId, [...(told.get(about.jobId) ?? []), about.told]);
      wake();
    }
  };
  listen().catch((error: Error) => {
    failure = error;
    wake();
  });
  return {
    async *follow(jobId) {
      for (let at = 0; ;) {
        const next = told.get(jobId)?.[at];
        if (next) {
          at += 1;
          yield next;
          if (next.type === 'event' && TERMINAL.has(next.event.type)) return;
        } else if (failure) throw failure;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    },
    close: () => closing.abort(),
  };
}

function read(heard: Heard): { jobId: string; told: Told } | null {
  switch (heard.type) {
    case 'event': {
      const { id, object } = heard.event.data;
      return object === 'job' ? { jobId: String(id), told: heard } : null;
    }
    case 'delta': {
      const words = (heard.delta as { content?: string }).content ?? '';
      return { jobId: heard.job_id, told: { type: 'words', words } };
    }
    case 'delta_reset':
      return { jobId: heard.job_id, told: { type: 'reset' } };
    case 'reset':
      // Of an account that is minutes old nothing is too old to be told.
      return null;
  }
}
