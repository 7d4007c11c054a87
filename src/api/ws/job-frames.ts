// What is told of one job, as messages: its stream's frames (contract 13) under the names that a WebSocket has for them.
import { rawMember } from '../../domain/json-members.ts';
import type { JobStream } from '../../flow/follow-job.ts';
import type { Batch, Frame } from '../../flow/frame.ts';
import type { Api } from '../api.ts';
import type { Caller } from '../auth.ts';
import { eventText, type Wanted } from './frames.ts';

/** Live messages that are events to others, by what a subscription's `events` call them. */
const NOTES: Record<string, string> = {
  'job.delta': 'delta',
  'job.reset': 'delta_reset',
  'job.running': 'running',
  'job.retrying': 'retrying',
  'job.progress': 'progress',
  'job.position': 'position',
};
/** Whoever asks for deltas is told when they are taken back, whatever else it wants. */
const ALWAYS = new Set(['job.delta', 'job.reset']);

interface Saying {
  batch: Batch;
  stream: JobStream;
  name: string;
  wanted: Wanted;
  caller: Caller;
}

export async function jobFrames(
  api: Api,
  { batch, stream, name, wanted, caller }: Saying,
): Promise<string[]> {
  const texts: string[] = [];
  for (const frame of batch) {
    const { event, data } = frame;
    if (event === 'reset') texts.push(resetText(name, data));
    else if (!ALWAYS.has(event) && !wanted.has(event)) continue;
    else if (event === 'job.position') texts.push(note(name, await withEta(api, { frame, stream, caller })));
    else texts.push(event in NOTES ? note(name, frame) : eventText(name, frame));
  }
  return texts;
}

const note = (name: string, { event, data }: Frame): string =>
  `{"type":"${NOTES[event]}","subscription":"${name}",${data.slice(1)}`;

/** An account's `reset` has its jobs; one job's has that one. */
export function resetText(name: string, data: string): string {
  const jobs = rawMember(data, 'jobs') ?? `[${rawMember(data, 'job')}]`;
  const more = rawMember(data, 'has_more') ?? 'false';
  return (
    `{"type":"reset","subscription":"${name}","reason":${rawMember(data, 'reason')},"cursor":${rawMember(data, 'cursor')}` +
    `,"jobs":${jobs},"has_more":${more}}`
  );
}

async function withEta(
  { shower }: Api,
  { frame, stream, caller }: { frame: Frame; stream: JobStream; caller: Caller },
): Promise<Frame> {
  const { position } = JSON.parse(frame.data) as { position: number };
  const { accountId, model } = stream;
  const etaMs = await shower.eta({ accountId, slots: caller.terms.slots }, { model, position });
  return { ...frame, data: `${frame.data.slice(0, -1)},"eta_ms":${etaMs}}` };
}
