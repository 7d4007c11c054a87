// The four jobs of the demo: submitted, followed live to their end, what they made fetched and written down.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Client, type Job, MillraceError, type MillraceEvent } from '../packages/client/src/index.ts';
import { followJob } from './follow.ts';
import type { Receiver } from './receiver.ts';
import type { Screen } from './screen.ts';

export const NAMES = ['chat', 'image', 'speech', 'transcript'] as const;
export type Name = (typeof NAMES)[number];

export const FILES = {
  chat: 'chat.txt',
  image: 'image.png',
  speech: 'speech.wav',
  transcript: 'transcript.txt',
} as const satisfies Record<Name, string>;

export const IMAGE_SIDE = 512;

/** What an artifact says of itself. */
export interface Artifact {
  id: string;
  bytes: number;
  sha256: string | null;
}

/** What is known of a job once it has ended. */
export interface Ran {
  name: Name;
  job: Job;
  /** What made it: a provider, and of those of the command line the engine. */
  engine: string;
  /** What a chat said live, word by word. */
  heard: string;
  /** Its last event, as the WebSocket told it and as the webhook brought it; null if it did not. */
  told: MillraceEvent | null;
  webhook: MillraceEvent | null;
  /** What it made: a text, or an artifact with its bytes. Null if it made nothing, or that could not be had. */
  text: string | null;
  artifact: (Artifact & { content: Buffer }) | null;
  /** Credits that could be spent after it. */
  balanceAfter: number;
}

export interface Tools {
  client: Client;
  /** Null: the platform calls nobody here. */
  receiver: Receiver | null;
  screen: Screen;
  /** Folder for what is made. */
  out: string;
  /** Ends what is waited for. */
  signal: AbortSignal;
}

/** What is asked of a model. The simulator would answer at once: `latency_ms` makes it take its time, as models do. */
export interface Request {
  model: string;
  input: Record<string, unknown>;
}

const slowed = (model: string, latency_ms: number): { sim?: object } =>
  model.startsWith('sim/') ? { sim: { latency_ms } } : {};

export const chat = (prompt: string): Request => ({
  model: 'sim/chat',
  input: { messages: [{ role: 'user', content: prompt }], ...slowed('sim/chat', 2_000) },
});
export const image = (prompt: string): Request => ({
  model: 'sim/image',
  input: { prompt, size: `${IMAGE_SIDE}x${IMAGE_SIDE}`, ...slowed('sim/image', 1_000) },
});
export const speech = (model: string, sentence: string): Request => ({
  model,
  input: { input: sentence, ...slowed(model, 500) },
});
export const transcript = (model: string, artifactId: string): Request => ({
  model,
  input: { artifact: artifactId, ...slowed(model, 500) },
});

/** Within this time a job has ended, or the platform ends it. */
const EXPIRES_IN_S = 300;
/** A webhook is sent as soon as the job has ended. */
const WEBHOOK_MS = 20_000;

/** @throws MillraceError if the platform does not take it; a job that was taken and fails is an answer */
export async function runJob(tools: Tools, name: Name, request: Request): Promise<Ran> {
  const { client, receiver, screen, out } = tools;
  screen.step(name);
  const { id } = await client.submit({ ...request, expires_in: EXPIRES_IN_S });
  const live = await listen(tools, id);
  const job = await client.wait(id);
  const made = await fetchMade(tools, job);
  const content = made.text ?? made.artifact?.content;
  if (content !== undefined) await writeFile(join(out, FILES[name]), content);
  const file = content === undefined ? '' : `: ${join(out, FILES[name])}`;
  screen.line(`  ${job.status}${job.error ? ` (${job.error.message})` : file}`);
  screen.note('waiting for its webhook');
  const webhook = (await receiver?.ended(id, WEBHOOK_MS)) ?? null;
  const engine = await engineOf(client, job);
  return { name, job, engine, ...live, webhook, ...made, balanceAfter: await balance(client) };
}

/** Shows a job's life as it goes on. */
async function listen(
  { client, screen, signal }: Tools,
  jobId: string,
): Promise<{ heard: string; told: MillraceEvent | null }> {
  let heard = '';
  let last: MillraceEvent | null = null;
  for await (const told of followJob(client, jobId, signal)) {
    if (told.type === 'words') {
      heard += told.words;
      if (told.words !== '') screen.words(told.words);
    } else if (told.type === 'reset') {
      heard = '';
      screen.line('  (it begins again)');
    } else {
      last = told.event;
      if (last.type === 'job.queued') screen.note('queued');
    }
  }
  return { heard, told: last };
}

async function fetchMade(
  { client, screen }: Tools,
  { output }: Job,
): Promise<Pick<Ran, 'text' | 'artifact'>> {
  const {
    text = null,
    images,
    audio,
  } = Object(output) as {
    text?: string;
    images?: { artifact_id: string }[];
    audio?: { artifact_id: string };
  };
  const id = (images?.[0] ?? audio)?.artifact_id;
  if (id === undefined) return { text, artifact: null };
  try {
    const params = { path: { id } };
    const artifact = answerOf(await client.api.GET('/v1/artifacts/{id}', { params }));
    const bytes = await client.api.GET('/v1/artifacts/{id}/content', { params, parseAs: 'arrayBuffer' });
    return { text, artifact: { ...artifact, content: Buffer.from(answerOf(bytes) as ArrayBuffer) } };
  } catch (error) {
    // The checks will name it; here it is told why.
    if (!(error instanceof MillraceError)) throw error;
    screen.line(`  ${error.message}`);
    return { text, artifact: null };
  }
}

/** The provider of its last attempt's route; of the command line's it is the engine that says something. */
async function engineOf({ api }: Client, { id, model }: Job): Promise<string> {
  const { attempts } = answerOf(await api.GET('/v1/jobs/{id}/explain', { params: { path: { id } } }));
  const { data } = answerOf(await api.GET('/v1/models'));
  const routes = data.find((row) => row.id === model)?.routes ?? [];
  const provider = routes.find((route) => route.id === attempts.at(-1)?.route_id)?.provider ?? 'unknown';
  return provider === 'exec' ? `${model.split('/').at(-1)} (command line)` : provider;
}

async function balance({ api }: Client): Promise<number> {
  return answerOf(await api.GET('/v1/account')).balance.available.credits;
}

/** @throws MillraceError for a refusal */
export function answerOf<T>({ data, error, response }: { data?: T; error?: unknown; response: Response }): T {
  if (data !== undefined && response.ok) return data;
  throw new MillraceError(response.status, Object(error) as object);
}
