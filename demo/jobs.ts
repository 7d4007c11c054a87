// The four jobs of the demo: submitted, followed live to their end, what they made fetched and written down.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Artifact, type Client, type Job, Refusal } from './client.ts';
import { followJob, LAST } from './follow.ts';
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

/** What is known of a job once it has ended. */
export interface Ran {
  name: Name;
  job: Job;
  /** What a chat said live, word by word. */
  heard: string;
  /** What it made: a text, or an artifact with its bytes. Null if it made nothing, or that could not be had. */
  text: string | null;
  artifact: (Artifact & { content: Buffer }) | null;
  /** Credits that could be spent after it. */
  balanceAfter: number;
}

export interface Tools {
  client: Client;
  screen: Screen;
  /** Folder for what is made. */
  out: string;
}

/** What is asked of a model. The simulator would answer at once: `latency_ms` makes it take its time, as models do. */
interface Request {
  model: string;
  input: Record<string, unknown>;
}

export const chat = (prompt: string): Request => ({
  model: 'sim/chat',
  input: { messages: [{ role: 'user', content: prompt }], sim: { latency_ms: 2_000 } },
});
export const image = (prompt: string): Request => ({
  model: 'sim/image',
  input: { prompt, size: `${IMAGE_SIDE}x${IMAGE_SIDE}`, sim: { latency_ms: 1_000 } },
});
export const speech = (sentence: string): Request => ({
  model: 'sim/tts',
  input: { input: sentence, sim: { latency_ms: 500 } },
});
export const transcript = (artifactId: string): Request => ({
  model: 'sim/stt',
  input: { artifact: artifactId, sim: { latency_ms: 500 } },
});

/** Within this time a job has ended, or the platform ends it. */
const EXPIRES_IN_S = 300;

/** @throws Refusal if the platform does not take it; a job that was taken and fails is an answer */
export async function runJob(tools: Tools, name: Name, request: Request): Promise<Ran> {
  const { client, screen, out } = tools;
  screen.step(name);
  const { id } = await client.post<Job>('/v1/jobs', { ...request, expires_in: EXPIRES_IN_S });
  const heard = await listen(tools, id);
  const job = await client.get<Job>(`/v1/jobs/${id}`);
  const made = await fetchMade(tools, job);
  const content = made.text ?? made.artifact?.content;
  if (content !== undefined) await writeFile(join(out, FILES[name]), content);
  const file = content === undefined ? '' : `: ${join(out, FILES[name])}`;
  screen.line(`  ${job.status}${job.error ? ` (${job.error.message})` : file}`);
  const account = await client.get<{ balance: { available: { credits: number } } }>('/v1/account');
  return { name, job, heard, ...made, balanceAfter: account.balance.available.credits };
}

/** Shows a job's life as it goes on. @returns what it said */
async function listen({ client, screen }: Tools, jobId: string): Promise<string> {
  let heard = '';
  for await (const { type, data } of followJob(client, jobId)) {
    if (type === 'job.delta') {
      const word = (data['delta'] as { content?: string }).content ?? '';
      heard += word;
      if (word !== '') screen.words(word);
    } else if (type === 'job.reset') {
      heard = '';
      screen.line('  (it begins again)');
    } else if (type === 'job.position') {
      const before = Number(data['position']);
      if (before > 0) screen.note(`${before} before it`);
    } else if (heard === '' && !LAST.has(type)) {
      // A chat's words say better than any note that it runs.
      screen.note(type.replace('job.', ''));
    }
  }
  return heard;
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
    const artifact = await client.get<Artifact>(`/v1/artifacts/${id}`);
    return { text, artifact: { ...artifact, content: await client.bytes(`/v1/artifacts/${id}/content`) } };
  } catch (error) {
    // The checks will name it; here it is told why.
    if (!(error instanceof Refusal)) throw error;
    screen.line(`  ${error.message}`);
    return { text, artifact: null };
  }
}
