// The simulator as a provider: all four kinds, real answers over HTTP, nothing to install and nothing to pay.
import { ATTEMPT_LIMIT_MS } from '../../domain/attempt-limit.ts';
import type { Kind } from '../../domain/job.ts';
import { PROVIDER_KINDS } from '../../domain/providers.ts';
import { exchange, openAgent, targetOf } from '../exchange.ts';
import { parsed } from '../failure.ts';
import type { CallResult, Provider, WorkKey } from '../provider.ts';
import { chatReader, simChat } from './chat.ts';
import { imageReader, simImage } from './image.ts';
import { type Asked, type Link, type Reader, requestFor, stopped } from './link.ts';
import { accepted, follow } from './remote.ts';
import { simSpeech, speechReader } from './speech.ts';
import { simTranscription, transcriptionReader } from './transcription.ts';

const IDLE_MS = 60_000;
/** How long stop and lookup may take. */
const CONTROL_MS = 5_000;
const MOST_LOOKUP_BYTES = 160 << 20;

const CALLS: Record<Kind, (link: Link, asked: Asked) => Promise<CallResult>> = {
  chat: simChat,
  image: simImage,
  tts: simSpeech,
  stt: simTranscription,
};
const READERS: Record<Kind, (asked: Asked) => Reader> = {
  chat: chatReader,
  image: imageReader,
  tts: speechReader,
  stt: transcriptionReader,
};

export interface SimOptions {
  /** Where the simulator listens, for example `http://127.0.0.1:4000`. A route's base URL is not looked at. */
  url: string;
  /** Bounds of one attempt, by default those of contract 19. */
  totalMs?: Partial<Record<Kind, number>>;
  idleMs?: number;
}

export function simProvider({ url, totalMs, idleMs = IDLE_MS }: SimOptions): Provider {
  const agent = openAgent();
  const { origin, path } = targetOf(url);
  const link: Link = { agent, url: origin + path, totalMs: { ...ATTEMPT_LIMIT_MS, ...totalMs }, idleMs };
  return {
    name: 'sim',
    kinds: PROVIDER_KINDS.sim,
    call: (route, call) => CALLS[call.kind](link, { route, call }),
    stop: (_route, key) => stop(link, key),
    lookup: (route, call, earlier) => lookup(link, { route, call }, earlier),
    close: () => agent.destroy(),
  };
}

/** Work that has a name is canceled by it, also by whoever took it over; else the simulator knows its attempts. */
async function stop({ agent, url }: Link, { jobId, attempt, remoteId }: WorkKey): Promise<boolean> {
  const { origin, path } = targetOf(url);
  const ended = await exchange(agent, {
    method: 'POST',
    origin,
    path: remoteId === null ? `${path}/calls/stop` : `${path}/v1/remote/${remoteId}/cancel`,
    headers: ['content-type', 'application/json'],
    body: remoteId === null ? JSON.stringify({ job_id: jobId, attempt }) : '{}',
    signal: new AbortController().signal,
    totalMs: CONTROL_MS,
    idleMs: 0,
    maxBytes: MOST_LOOKUP_BYTES,
  });
  if (ended.how !== 'done' || ended.head?.status !== 200) return false;
  const { stopped, status } = Object(parsed(ended.body)) as { stopped?: unknown; status?: unknown };
  return remoteId === null ? stopped === true : status === 'canceled';
}

/** Work that goes on is waited for, by its name or the one the attempt's key finds; else there may be a result that was kept. */
async function lookup(
  link: Link,
  asked: Asked,
  { attempt, remoteId }: Pick<WorkKey, 'attempt' | 'remoteId'>,
): Promise<CallResult | null> {
  const read = READERS[asked.call.kind](asked);
  if (remoteId !== null) return follow(link, { ...asked, id: remoteId }, read);
  const request = requestFor(
    link,
    asked,
    `/v1/lookup?key=${encodeURIComponent(`${asked.call.jobId}-${attempt}`)}`,
  );
  const ended = await exchange(link.agent, {
    ...request,
    method: 'GET',
    body: null,
    totalMs: CONTROL_MS,
    maxBytes: MOST_LOOKUP_BYTES,
  });
  if (ended.how === 'stopped') return stopped(ended);
  if (ended.how !== 'done') return null;
  if (ended.head?.status === 202) return accepted(link, { ...asked, ended }, read);
  return ended.head?.status === 200 ? read(ended) : null;
}
