// One job as a WebSocket tells it: its events, and what a chat says as it says it. The socket is the SDK's, which makes it
// anew when it breaks and goes on where it broke.
import { type Client, type Heard, type MillraceEvent, TERMINAL } from '../packages/client/src/index.ts';

/** `reset`: what it said is taken back. */
export type Told =
  | { type: 'event'; event: MillraceEvent }
  | { type: 'words'; words: string }
  | { type: 'reset' };

/** From the job's first event to its last. */
export async function* followJob(client: Client, jobId: string, signal: AbortSignal): AsyncGenerator<Told> {
  for await (const heard of client.subscribe({ jobs: [jobId], after: 'start', deltas: true, signal })) {
    const told = read(heard);
    if (!told) continue;
    yield told;
    if (told.type === 'event' && TERMINAL.has(told.event.type)) return;
  }
}

/** Null: of a job that is seconds old nothing is too old to be told. */
function read(heard: Heard): Told | null {
  switch (heard.type) {
    case 'event':
      return heard;
    case 'delta':
      return { type: 'words', words: (heard.delta as { content?: string }).content ?? '' };
    case 'delta_reset':
      return { type: 'reset' };
    case 'reset':
      return null;
  }
}
