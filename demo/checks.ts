// What must hold when the demo is over. Pure: what was received goes in, what is wrong with it comes out.
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Job } from '../packages/client/src/index.ts';
import { wordErrors } from './engines.ts';
import { FILES, IMAGE_SIDE, type Name, NAMES, type Ran } from './jobs.ts';

/** All that the demo has received. */
export interface Received {
  /** Credits the account began with. */
  given: number;
  /** What was to be said, and heard again. */
  sentence: string;
  /** The share of its words that may be heard wrongly. */
  errorsMax: number;
  /** One of each name, unless what it needs was not made. */
  ran: Ran[];
  /** How many came that were not rightly signed; null: none were to come. */
  webhooks: { refused: number } | null;
  /** The folder of results, as read back from disk. */
  files: ReadonlyMap<string, Buffer>;
  balance: { available: number; held: number };
  audit: { ok: boolean; breaches: { invariant: string; subject: string; what: string }[] };
}

/** @returns a line for everything that is not as it must be, each beginning with what it is about; none: all held */
export function findWrong(received: Received): string[] {
  return [
    ...NAMES.flatMap((name) => wrongWithJob(received, name)),
    ...wrongWithWebhooks(received),
    ...wrongWithBalance(received),
    ...wrongWithAudit(received),
  ];
}

function wrongWithJob(received: Received, name: Name): string[] {
  const ran = received.ran.find((one) => one.name === name);
  if (!ran) return [`${name}: there was nothing to make it from`];
  const { status, error, cost, hold } = ran.job;
  if (status !== 'succeeded') {
    return [`${name}: the job ${status}${error ? `: ${error.message} (${error.code})` : ''}`];
  }
  const made = {
    chat: wrongWithChat,
    image: wrongWithImage,
    speech: wrongWithSpeech,
    transcript: wrongWithTranscript,
  };
  const wrong = [
    made[name](ran, received),
    wrongWithFile(ran, received),
    wrongWithTold(ran),
    received.webhooks && wrongWithWebhook(ran),
    cost && cost.credits <= hold.credits
      ? null
      : `it cost ${cost?.credits} credits, of which only ${hold.credits} were held`,
  ];
  return wrong.filter((line) => line !== null).map((line) => `${name}: ${line}`);
}

function wrongWithChat({ text, heard }: Ran): string | null {
  if (!text) return 'it says nothing';
  return heard === text ? null : `the words that streamed in are not its text: "${heard}" and "${text}"`;
}

const PNG_BEGIN = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const PNG_END = Buffer.from('IEND');

function wrongWithImage(ran: Ran): string | null {
  const content = ran.artifact?.content;
  if (!content) return 'the artifact is missing';
  if (!content.subarray(0, 8).equals(PNG_BEGIN)) return 'the artifact is no PNG';
  if (!content.subarray(-8, -4).equals(PNG_END)) return 'the PNG is cut off';
  const [width, height] = [content.readUInt32BE(16), content.readUInt32BE(20)];
  if (width !== IMAGE_SIDE || height !== IMAGE_SIDE)
    return `the PNG is ${width} x ${height}, not ${IMAGE_SIDE} x ${IMAGE_SIDE}`;
  return wrongWithArtifact(ran);
}

function wrongWithSpeech(ran: Ran): string | null {
  const content = ran.artifact?.content;
  if (!content) return 'the artifact is missing';
  if (content.toString('latin1', 0, 4) !== 'RIFF' || content.toString('latin1', 8, 12) !== 'WAVE')
    return 'the artifact is no WAV';
  if (content.readUInt32LE(4) !== content.length - 8)
    return `the WAV says it has ${content.readUInt32LE(4) + 8} bytes, and has ${content.length}`;
  return wrongWithArtifact(ran);
}

function wrongWithArtifact({ artifact }: Ran): string | null {
  if (!artifact) return 'the artifact is missing';
  const { content, bytes, sha256 } = artifact;
  if (content.length !== bytes) return `the artifact has ${content.length} bytes, not ${bytes}`;
  const hash = createHash('sha256').update(content).digest('hex');
  return hash === sha256 ? null : `the artifact's SHA-256 is ${hash}, not ${sha256}`;
}

function wrongWithTranscript({ text }: Ran, { sentence, errorsMax }: Received): string | null {
  if (text === sentence) return null;
  const understood = errorsMax > 0 && wordErrors(sentence, text ?? '') <= errorsMax;
  return understood ? null : `"${text}" was heard, and "${sentence}" was said`;
}

/** Every channel shows the job as it is when asked for; its link there is absolute, and long outputs are left out. */
function wrongWithTold({ job, told }: Ran): string | null {
  if (!told) return 'its end was not told over the WebSocket';
  const { links: _links, output_omitted: omitted, ...data } = told.data;
  const wrong = Object.entries(data).find(([field, value]) => {
    if (field === 'output' && omitted) return false;
    return !isDeepStrictEqual(value, job[field as keyof Job]);
  });
  return wrong ? `the WebSocket told another ${wrong[0]} than the job has` : null;
}

function wrongWithWebhook({ told, webhook }: Ran): string | null {
  if (!webhook) return 'no webhook told of its end';
  return isDeepStrictEqual(webhook, told) ? null : 'its webhook is not what the WebSocket told';
}

function wrongWithFile({ name, text, artifact }: Ran, { files }: Received): string | null {
  const file = FILES[name];
  const expected = artifact?.content ?? Buffer.from(text ?? '');
  const found = files.get(file);
  if (!found) return `${file} is missing`;
  return found.equals(expected) ? null : `${file} is not what was received`;
}

function wrongWithWebhooks({ webhooks }: Received): string[] {
  return webhooks && webhooks.refused > 0
    ? [`webhooks: ${webhooks.refused} came that were not rightly signed`]
    : [];
}

function wrongWithBalance({ given, ran, balance }: Received): string[] {
  const costs = ran.reduce((sum, { job }) => sum + (job.cost?.credits ?? 0), 0);
  const wrong: string[] = [];
  if (balance.available !== given - costs) {
    wrong.push(
      `balance: ${balance.available} credits are left, but ${given} less ${costs} are ${given - costs}`,
    );
  }
  if (balance.held !== 0) wrong.push(`balance: ${balance.held} credits are still held`);
  return wrong;
}

function wrongWithAudit({ audit }: Received): string[] {
  const lines = audit.breaches.map(
    ({ invariant, subject, what }) => `audit: ${invariant} ${subject}: ${what}`,
  );
  return audit.ok || lines.length > 0 ? lines : ['audit: the books are not right'];
}
