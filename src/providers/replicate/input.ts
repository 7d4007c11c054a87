// A job's input in the words of the upstream model. Each model on Replicate has its own; the usual ones are the default, and the
// route's data names others.
import { buffer } from 'node:stream/consumers';
import type { Kind } from '../../domain/job.ts';
import { parseSize } from '../../domain/model.ts';
import type { Call, OpenedArtifact } from '../provider.ts';
import type { Asked } from './link.ts';

/** A data: URI is taken up to about a megabyte; longer audio is uploaded first. */
export const MOST_INLINE_BYTES = 512 << 10;

/** What the fields of each kind are mostly called upstream; null: not sent unless the route's data names it. */
const USUAL: Record<Kind, Record<string, string | null>> = {
  chat: {
    prompt: 'prompt',
    system_prompt: 'system_prompt',
    max_tokens: 'max_tokens',
    temperature: 'temperature',
    top_p: 'top_p',
    messages: null,
  },
  image: {
    prompt: 'prompt',
    n: 'num_outputs',
    width: 'width',
    height: 'height',
    seed: 'seed',
    size: null,
    quality: null,
  },
  tts: { input: 'text', voice: 'voice', speed: 'speed', instructions: null, response_format: null },
  stt: { audio: 'audio', language: 'language', prompt: 'initial_prompt' },
};

/** The fields that the platform's own price hangs on are those of `bounds`, whatever the client said. @param audio its URI */
export function inputFor({ route, call }: Asked, audio: string | null): Record<string, unknown> {
  const names: Record<string, string | null> = { ...USUAL[call.kind], ...route.data.input_map };
  const input: Record<string, unknown> = { ...route.data.input };
  for (const [field, value] of Object.entries(fieldsOf(call, audio))) {
    const name = names[field];
    if (name != null && value !== undefined && value !== null) input[name] = value;
  }
  return input;
}

function fieldsOf(call: Call, audio: string | null): Record<string, unknown> {
  const { sim: _, ...given } = JSON.parse(call.input) as Record<string, unknown>;
  switch (call.kind) {
    case 'chat':
      return { ...given, ...conversation(given.messages), max_tokens: call.bounds.max_output_tokens };
    case 'image': {
      const { n, size } = call.bounds;
      return { ...given, n, size, ...(size === undefined ? {} : parseSize(size)) };
    }
    case 'tts':
      return given;
    case 'stt':
      return { language: given.language, prompt: given.prompt, audio };
  }
}

/** Most models take one text: a single question as it is, a longer talk with who said what. */
function conversation(messages: unknown): { prompt: string; system_prompt?: string } {
  const all = (messages as { role: string; content?: unknown }[]).map(({ role, content }) => ({
    role,
    text: textOf(content),
  }));
  const system = all.filter(({ role }) => role === 'system' || role === 'developer');
  const said = all.filter((message) => !system.includes(message));
  const prompt =
    said.length === 1
      ? (said[0]?.text ?? '')
      : [...said.map(({ role, text }) => `${role}: ${text}`), 'assistant:'].join('\n\n');
  const rules = system.map(({ text }) => text).join('\n\n');
  return { prompt, ...(rules === '' ? {} : { system_prompt: rules }) };
}

function textOf(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content
    .map((part) => (Object(part) as { text?: unknown }).text)
    .filter((text) => typeof text === 'string')
    .join('\n');
}

/** @throws if storage does not give the bytes */
export const bytesOf = async (audio: OpenedArtifact): Promise<Buffer> => buffer(await audio.open());

const TYPE = /^[\w.+-]+\/[\w.+-]+$/;

const mediaType = (type: string): string => (TYPE.test(type) ? type : 'application/octet-stream');

export const dataUri = (bytes: Buffer, type: string): string =>
  `data:${mediaType(type)};base64,${bytes.toString('base64')}`;
