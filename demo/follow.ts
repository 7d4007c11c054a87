// One job's live channel: its events in order, none missed or repeated, over as many connections as that takes.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from './client.ts';

export interface LiveEvent {
  /** Where to go on from after it; null for a note that is not kept. */
  id: string | null;
  type: string;
  data: Record<string, unknown>;
}

const TRIES = 10;
const PAUSE_MS = 500;
/** Past one of these a job's channel is silent. */
export const LAST = new Set(['job.succeeded', 'job.failed', 'job.canceled', 'job.expired']);

/** Ends with the job. A connection that breaks is made anew and goes on where it broke. */
export async function* followJob(client: Client, jobId: string): AsyncGenerator<LiveEvent> {
  let heard: string | null = null;
  for (let failures = 0; ; failures++) {
    try {
      const stream = await client.stream(`/v1/jobs/${jobId}/events`, heard);
      if (!stream) return;
      for await (const event of readEvents(stream)) {
        heard = event.id ?? heard;
        failures = 0;
        yield event;
        if (LAST.has(event.type)) return;
      }
    } catch (error) {
      if (failures >= TRIES || (error as Error).name === 'AbortError' || (error as Error).name === 'Refusal')
        throw error;
    }
    if (failures >= TRIES) throw new Error(`The live channel of ${jobId} broke off ${TRIES} times in a row.`);
    await sleep(PAUSE_MS);
  }
}

/** Server-sent events, from text that comes in pieces of any size. */
export async function* readEvents(chunks: AsyncIterable<string>): AsyncGenerator<LiveEvent> {
  let rest = '';
  for await (const chunk of chunks) {
    const blocks = (rest + chunk).split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const event = parseEvent(block);
      if (event) yield event;
    }
  }
}

/** Null for a block without data: a heartbeat, or the time to wait before coming back. */
function parseEvent(block: string): LiveEvent | null {
  const fields = new Map<string, string>();
  for (const line of block.split('\n')) {
    const [, name = '', value = ''] = /^([^:]*): ?(.*)$/.exec(line) ?? [];
    fields.set(name, fields.has(name) ? `${fields.get(name)}\n${value}` : value);
  }
  const data = fields.get('data');
  if (data === undefined) return null;
  return {
    id: fields.get('id') ?? null,
    type: fields.get('event') ?? 'message',
    data: JSON.parse(data) as Record<string, unknown>,
  };
}
